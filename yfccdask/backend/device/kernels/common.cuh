// What all kernels share. Integers come in as Index and reals as double, pointers may be null where
// a comment says so; nothing is included, so that NVRTC alone compiles it.
typedef long long Index;
typedef unsigned short Bits16;  // a value of 16 bits as it lies in memory

struct Half { Bits16 bits; };      // IEEE half precision
struct Brain { Bits16 bits; };     // bfloat16: the upper half of a float

#ifdef __CUDACC_RTC__
#define DYNAMIC_SHARED(type, name) extern __shared__ type name[]
__device__ inline float widened(Half value) {
    float wide;
    asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(value.bits));
    return wide;
}
__device__ inline void store(Half* at, float value) {
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(at->bits) : "f"(value));
}
#endif

__device__ inline float widened(float value) { return value; }
__device__ inline float widened(unsigned char value) { return value; }
__device__ inline float widened(Bits16 value) { return value; }
__device__ inline float widened(Brain value) { return __uint_as_float((unsigned)value.bits << 16); }
__device__ inline void store(float* at, float value) { *at = value; }
__device__ inline void store(Brain* at, float value) {  // to nearest, ties to even
    unsigned bits = __float_as_uint(value);
    bool number = (bits & 0x7fffffffu) <= 0x7f800000u;
    at->bits = number ? (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16 : 0x7fffu;
}

// The sum over a block's threads, in an order that the block's size fixes; every thread gets it.
template <typename T> __device__ T block_sum(T value) {
    __shared__ T parts[32];
    for (int apart = 16; apart > 0; apart /= 2)
        value += __shfl_xor_sync(0xffffffffu, value, apart);
    __syncthreads();  // the parts of the sum before may still be read
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = value;
    __syncthreads();
    T total = 0;
    for (int part = 0; part < blockDim.x / 32; ++part) total += parts[part];
    return total;
}

// The first and last (exclusive) of `count` elements that slice `number` of `slices` has.
__device__ inline Index slice_start(Index count, Index number, Index slices) {
    return count / slices * number + (number < count % slices ? number : count % slices);
}
