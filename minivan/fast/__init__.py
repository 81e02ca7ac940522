"""The engine `fast`: VAN compiled as a whole, for inference.

Read in this order:

    lanes       the widths of vectors, and which one this machine has
    simd        the idea: vectors in Numba
    addresses   how compiled code refers to memory; tables that declare which of their numbers are addresses
    pointers    an address as what compiled code reads and writes by
    maps        how a feature map lies in memory; the named tuples for maps, weights and shares of work
    views       maps made from addresses, and parts of maps
    halves      numbers rounded to bfloat16, in NumPy
    bfloat16    what matrix products read in 16 bits, and the ways of multiplying it
    matmul      1x1 convolutions: with
    depthwise   it takes 95 % of the time
    amx         bfloat16's products on tiles, and with what the system must
    permission  be asked for first;
    soft_tiles  the tiles in software
    bfmmla      ARM's, two positions at a time,
    arm         and whether the processor has it
    windows     patch embeddings, made into matrix products: the windows' shapes,
    gather      and how they are laid out
    norm, head  LayerNorm; mean and classifier
    tables      what compiled code knows of a network and of a thread
    team        threads, one compiled function in each,
    barrier     and where they meet
    network     the forward pass
    pack        weights folded and laid out
    rounds      a batch divided among threads
    workspace   buffers, and what lives as long as an address to it
    plan        all of it as one call
    peak        what the machine could reach

And for segmentation, of which nothing is loaded by who only classifies:

    winograd    3x3 convolutions that join channels, made into matrix products:
    smoothing   what happens before and after these
    upsample    nearest and bilinear
    fpn_tables  what compiled code knows of a neck, a head and their buffers
    fpn         the forward pass of both
    fpn_pack    their weights folded and laid out
    fpn_plan    buffers, and all of it as one call
"""

from .plan import Plan

__all__ = ["Plan"]
