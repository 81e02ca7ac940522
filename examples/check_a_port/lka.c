/* Large kernel attention in C99, checked against minivan's test vectors.
 *
 *     python -m minivan oracle vectors -o vectors --op lka
 *     cc -std=c99 -O2 -o lka lka.c
 *     ./lka vectors/lka/real out
 *     python -m minivan oracle compare vectors/lka/real out
 *
 * Reads a test vector's input and parameters, computes the four layers conv0, conv_spatial, conv1 and lka, writes each
 * as out/NAME.npy (the folder must exist), and counts the numbers that are not those of outputs/NAME.npy. Exit status 0
 * if every number has the same bits, 1 if not, 2 if a file cannot be read or written.
 *
 * Sums are kept in double and rounded to float once, in the order bias, input channel, kernel row, kernel column: the
 * product of two floats is exact in double, so the result is that of minivan's engine `exact`, bit for bit, with fused
 * multiply-add or without.
 *
 * Compile with -DFAULT_... to make a mistake that people make, and let the oracle name it; with -DNHWC to write what comes
 * out as (N, H, W, C).
 */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    int rank;
    long shape[4];
    float *data;
} Array;

static long count(Array a) {
    long n = 1;
    for (int i = 0; i < a.rank; i++) n *= a.shape[i];
    return n;
}

static void fail(const char *what, const char *path) {
    fprintf(stderr, "%s: %s\n", path, what);
    exit(2);
}

static float *allocate(long n) {
    float *data = malloc((size_t)n * sizeof *data);
    if (!data) fail("out of memory", "lka");
    return data;
}

/* A float from its four bytes, least significant first, whatever this machine's own order is; and back. */
static float float_from(const unsigned char *b) {
    uint32_t bits = (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

static void bytes_from(float value, unsigned char *b) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    for (int i = 0; i < 4; i++) b[i] = (unsigned char)(bits >> 8 * i);
}

/* Read folder/name.npy: version 1, little-endian float32, C order, at most four axes. */
static Array read_npy(const char *folder, const char *name) {
    char path[1024], header[1024];
    unsigned char start[10], bytes[4];
    Array a = {0};
    snprintf(path, sizeof path, "%s/%s.npy", folder, name);
    FILE *file = fopen(path, "rb");
    if (!file) fail("cannot be opened", path);
    if (fread(start, 1, 10, file) != 10 || memcmp(start, "\x93NUMPY\x01", 7)) fail("not a version 1 .npy file", path);
    size_t length = (size_t)(start[8] | start[9] << 8);
    if (length >= sizeof header || fread(header, 1, length, file) != length) fail("a header cut short or too long", path);
    header[length] = 0;
    if (!strstr(header, "'<f4'") || !strstr(header, "'fortran_order': False")) fail("not float32 in C order", path);
    char *at = strstr(header, "'shape': (");
    if (!at) fail("a header without a shape", path);
    for (at += strlen("'shape': ("); *at && *at != ')';) {
        if (*at < '0' || *at > '9') {
            at++;
            continue;
        }
        if (a.rank == 4) fail("more than four axes", path);
        a.shape[a.rank++] = strtol(at, &at, 10);
    }
    a.data = allocate(count(a));
    for (long i = 0; i < count(a); i++) {
        if (fread(bytes, 1, 4, file) != 4) fail("cut short", path);
        a.data[i] = float_from(bytes);
    }
    fclose(file);
    return a;
}

#ifdef NHWC
/* The same numbers, channels last. */
static Array channels_last(Array a) {
    long n = a.shape[0], channels = a.shape[1], height = a.shape[2], width = a.shape[3];
    Array b = {4, {n, height, width, channels}, allocate(count(a))};
    for (long i = 0; i < n * channels; i++)
        for (long p = 0; p < height * width; p++)
            b.data[(i / channels * height * width + p) * channels + i % channels] = a.data[i * height * width + p];
    return b;
}
#endif

static void write_npy(const char *folder, const char *name, Array a) {
    char path[1024], header[128];
    unsigned char bytes[4];
    snprintf(path, sizeof path, "%s/%s.npy", folder, name);
    FILE *file = fopen(path, "wb");
    if (!file) fail("cannot be written", path);
    memset(header, ' ', sizeof header);
    memcpy(header, "\x93NUMPY\x01\x00\x76\x00", 10); /* 118 bytes of text, so that the numbers begin at 128 */
    int n = sprintf(header + 10, "{'descr': '<f4', 'fortran_order': False, 'shape': (%ld, %ld, %ld, %ld), }",
                    a.shape[0], a.shape[1], a.shape[2], a.shape[3]);
    header[10 + n] = ' ';
    header[127] = '\n';
    if (fwrite(header, 1, 128, file) != 128) fail("cannot be written", path);
    for (long i = 0; i < count(a); i++) {
        bytes_from(a.data[i], bytes);
        if (fwrite(bytes, 1, 4, file) != 4) fail("cannot be written", path);
    }
    if (fclose(file)) fail("cannot be written", path);
}

/* Each channel by itself: x (N, C, H, W), weight (C, 1, K, K), bias (C); the map keeps its size. */
static Array depthwise(Array x, Array weight, Array bias, long padding, long dilation) {
    long channels = x.shape[1], height = x.shape[2], width = x.shape[3], k = weight.shape[3];
    Array y = x;
    if (k != weight.shape[2] || weight.shape[0] != channels) fail("is not square or not depthwise", "a kernel");
    y.data = allocate(count(x));
    for (long map = 0; map < x.shape[0] * channels; map++) {
        const float *in = x.data + map * height * width, *kernel = weight.data + map % channels * k * k;
        float *out = y.data + map * height * width;
        for (long i = 0; i < height; i++)
            for (long j = 0; j < width; j++) {
                double sum = bias.data[map % channels];
                for (long a = 0; a < k; a++)
                    for (long b = 0; b < k; b++) {
                        long row = i - padding + a * dilation, column = j - padding + b * dilation;
                        if (row < 0 || row >= height || column < 0 || column >= width) continue;
                        sum += (double)kernel[a * k + b] * (double)in[row * width + column];
                    }
                out[i * width + j] = (float)sum;
            }
    }
    return y;
}

/* The channels of each position mix: weight (C_out, C_in, 1, 1), bias (C_out). */
static Array pointwise(Array x, Array weight, Array bias) {
    long c_in = x.shape[1], c_out = weight.shape[0], positions = x.shape[2] * x.shape[3];
    Array y = x;
    y.shape[1] = c_out;
    y.data = allocate(count(y));
    for (long n = 0; n < x.shape[0]; n++)
        for (long o = 0; o < c_out; o++)
            for (long p = 0; p < positions; p++) {
                double sum = bias.data[o];
                for (long c = 0; c < c_in; c++)
#ifdef FAULT_TRANSPOSED_WEIGHT
                    sum += (double)weight.data[c * c_out + o] * (double)x.data[(n * c_in + c) * positions + p];
#else
                    sum += (double)weight.data[o * c_in + c] * (double)x.data[(n * c_in + c) * positions + p];
#endif
                y.data[(n * c_out + o) * positions + p] = (float)sum;
            }
    return y;
}

static Array multiply(Array u, Array weights) {
    Array y = u;
    y.data = allocate(count(u));
    for (long i = 0; i < count(u); i++) {
#ifdef FAULT_NO_GATE
        y.data[i] = weights.data[i];
#else
        y.data[i] = u.data[i] * weights.data[i];
#endif
    }
    return y;
}

/* Compare with the test vector and write for the oracle; return how many numbers have other bits. */
static long check(const char *folder, const char *out, const char *name, Array y) {
    char path[1024];
    snprintf(path, sizeof path, "%s/outputs", folder);
    Array expected = read_npy(path, name);
    if (count(expected) != count(y)) fail("has another shape than expected", name);
    long differ = 0;
    for (long i = 0; i < count(y); i++) differ += memcmp(&y.data[i], &expected.data[i], 4) != 0;
    printf("%-12s %ld of %ld numbers differ\n", name, differ, count(y));
#ifdef NHWC
    y = channels_last(y);
#endif
    write_npy(out, name, y);
    return differ;
}

int main(int argc, char **argv) {
    char inputs[1024], parameters[1024];
    if (argc != 3) fail("usage: lka TEST_VECTOR OUT", "lka");
    snprintf(inputs, sizeof inputs, "%s/inputs", argv[1]);
    snprintf(parameters, sizeof parameters, "%s/parameters", argv[1]);
    Array u = read_npy(inputs, "x");
    Array bias0 = read_npy(parameters, "conv0.bias");
    long padding = 9, dilation = 3;
#ifdef FAULT_MISSING_BIAS
    memset(bias0.data, 0, (size_t)count(bias0) * sizeof(float));
#endif
#ifdef FAULT_MISSING_DILATION
    padding = 3, dilation = 1;
#endif
    Array near = depthwise(u, read_npy(parameters, "conv0.weight"), bias0, 2, 1);
    Array far = depthwise(near, read_npy(parameters, "conv_spatial.weight"), read_npy(parameters, "conv_spatial.bias"),
                          padding, dilation);
    Array weights = pointwise(far, read_npy(parameters, "conv1.weight"), read_npy(parameters, "conv1.bias"));
    long differ = check(argv[1], argv[2], "conv0", near) + check(argv[1], argv[2], "conv_spatial", far) +
                  check(argv[1], argv[2], "conv1", weights) + check(argv[1], argv[2], "lka", multiply(u, weights));
    return differ != 0;
}
