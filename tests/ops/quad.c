/* erf, erfc, exp and GELU with 113 bits, for tests: the truth that minivan's own are measured against.
 *
 * Each function fills u[i] with how far got[i] lies from the exact value at x[i], in units in the last place of the exact
 * value: of float32 for GELU, of float64 for the others; below the smallest normal number, of the denormals' spacing. */

#include <math.h>

#if __LDBL_MANT_DIG__ == 113 /* AArch64: long double is binary128 */
typedef long double Quad;
#define Q(name) name##l
#else /* x86-64: GCC's libquadmath */
#include <quadmath.h>
typedef __float128 Quad;
#define Q(name) name##q
#endif

static double ulps(double got, Quad exact, int digits, int lowest) {
    if (isnan(got) || exact != exact) return isnan(got) && exact != exact ? 0 : INFINITY;
    if (isinf(got)) return Q(fabs)(exact) >= Q(ldexp)((Quad)1, lowest == -126 ? 128 : 1024) && (got > 0) == (exact > 0) ? 0 : INFINITY;
    int exponent = exact == 0 ? lowest : Q(ilogb)(exact);
    return (double)(Q(fabs)((Quad)got - exact) / Q(ldexp)((Quad)1, (exponent < lowest ? lowest : exponent) - digits + 1));
}

void measure_gelu(long n, const float *x, const float *got, double *u) {
    const Quad root_half = Q(sqrt)((Quad)0.5);
    for (long i = 0; i < n; i++) u[i] = ulps(got[i], (Quad)x[i] / 2 * Q(erfc)(-(Quad)x[i] * root_half), 24, -126);
}

#define MEASURE(name) \
    void measure_##name(long n, const double *x, const double *got, double *u) { \
        for (long i = 0; i < n; i++) u[i] = ulps(got[i], Q(name)((Quad)x[i]), 53, -1022); \
    }

MEASURE(erf)
MEASURE(erfc)
MEASURE(exp)

/* The same for GELU in long double, eight times faster: its 64 bits on x86-64 still resolve 2^-38 of a float32's last place.
 * Returns the worst of n values and, in *at, where it is. */
double worst_gelu(long n, const float *x, const float *got, float *at) {
    double worst = 0;
    for (long i = 0; i < n; i++) {
        long double v = x[i], exact = v / 2 * erfcl(-v * 0.70710678118654752440084436210484903928L);
        int exponent = exact == 0 ? -126 : ilogbl(exact);
        double u = (double)(fabsl(got[i] - exact) / ldexpl(1, (exponent < -126 ? -126 : exponent) - 23));
        if (!(u <= worst)) worst = u, *at = x[i];
    }
    return worst;
}
