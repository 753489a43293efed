// Initial weights from a counter (Philox4x32-10): the same bits as `counter_random` makes.

__device__ inline int random_integer(
    unsigned input, unsigned unit, unsigned position, unsigned seed, unsigned layer) {
    unsigned c0 = input, c1 = unit, c2 = position, c3 = 0, k0 = seed, k1 = layer;
    for (int round = 0; round < 10; ++round) {
        unsigned long long p0 = 0xD2511F53ull * c0, p1 = 0xCD9E8D57ull * c2;
        unsigned n0 = (unsigned)(p1 >> 32) ^ c1 ^ k0, n2 = (unsigned)(p0 >> 32) ^ c3 ^ k1;
        c0 = n0; c1 = (unsigned)p1; c2 = n2; c3 = (unsigned)p0;
        k0 += 0x9E3779B9u; k1 += 0xBB67AE85u;
    }
    return (int)((c0 >> 16) + (c1 >> 16) + (c2 >> 16) + (c3 >> 16)) - 2 * 0xFFFF;
}

// squares (row) <- the exact sum of a row's squared integers. blocks: (row).
extern "C" __global__ void row_squares(
    const Index* numbers, Index units, Index first_input, Index inputs, Index seed, Index layer,
    Index* squares) {
    Index position = numbers[blockIdx.x / units], unit = blockIdx.x % units, total = 0;
    for (Index i = threadIdx.x; i < inputs; i += blockDim.x) {
        Index value = random_integer(first_input + i, unit, position, seed, layer);
        total += value * value;
    }
    total = block_sum(total);
    if (threadIdx.x == 0) squares[blockIdx.x] = total;
}

// w (row, input) <- the integers over the root of the whole row's squares. blocks: (row).
extern "C" __global__ void unit_rows(
    const Index* numbers, Index units, Index first_input, Index inputs, Index seed, Index layer,
    const Index* squares, float* w) {
    Index position = numbers[blockIdx.x / units], unit = blockIdx.x % units;
    double norm = sqrt((double)squares[blockIdx.x]);
    for (Index i = threadIdx.x; i < inputs; i += blockDim.x)
        w[(Index)blockIdx.x * inputs + i] =
            (float)(random_integer(first_input + i, unit, position, seed, layer) / norm);
}
