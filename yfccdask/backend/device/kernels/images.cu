// From stored pixels to the field that layer 1 reads.

// out <- gain x + shift per image. blocks: (group of values, image).
template <typename From> __device__ void contrast(
    const From* images, Index size, const float* gain, const float* shift, float* out) {
    Index i = (Index)blockIdx.x * blockDim.x + threadIdx.x, image = blockIdx.y;
    if (i < size) out[image * size + i] = gain[image] * widened(images[image * size + i]) + shift[image];
}
extern "C" __global__ void contrast_uint8(
    const unsigned char* images, Index size, const float* gain, const float* shift, float* out) {
    contrast(images, size, gain, shift, out);
}
extern "C" __global__ void contrast_uint16(
    const Bits16* images, Index size, const float* gain, const float* shift, float* out) {
    contrast(images, size, gain, shift, out);
}

__device__ inline int mirrored(int at, int length) {
    if (at < 0) return -at;
    return at < length ? at : 2 * (length - 1) - at;
}

// Contrast, then correlation with a filter (fy, fx, channel, 4 maps of `map` on): a block of 256
// threads makes 32 x 32 pixels, a thread 4 of them. What lies `top` and `left` outside is mirrored.
// blocks: (columns, rows, image). Shared memory: the filter, then the pixels of all channels.
template <typename From> __device__ void whiten(
    const From* images, Index height, Index width, Index channels, const float* gain,
    const float* shift, const float* filter, Index fy, Index fx, Index top, Index left,
    Index out_height, Index out_width, Index maps, Index map, float* out) {
    DYNAMIC_SHARED(float4, shared);
    int across = 31 + (int)fx, down = 31 + (int)fy, taps = (int)(fy * fx * channels);
    float* pixels = (float*)(shared + taps);
    int y0 = blockIdx.y * 32, x0 = blockIdx.x * 32;
    Index image = blockIdx.z;
    const From* source = images + image * height * width * channels;
    for (int i = threadIdx.x; i < taps; i += blockDim.x) shared[i] = ((const float4*)filter)[i];
    for (int i = threadIdx.x; i < across * down; i += blockDim.x) {
        int y = y0 + i / across - (int)top, x = x0 + i % across - (int)left;
        bool inside = y0 + i / across < out_height + fy - 1 && x0 + i % across < out_width + fx - 1;
        Index at = inside ? (mirrored(y, height) * width + mirrored(x, width)) * channels : 0;
        for (int c = 0; c < channels; ++c)
            pixels[c * across * down + i] = gain[image] * widened(source[at + c]) + shift[image];
    }
    __syncthreads();
    int row = threadIdx.x / 32, column = threadIdx.x % 32;
    float sums[4][4] = {};
    for (int y = 0; y < fy; ++y)
        for (int x = 0; x < fx; ++x)
            for (int c = 0; c < channels; ++c) {
                float4 weight = shared[(y * (int)fx + x) * (int)channels + c];
                const float* at = pixels + (c * down + row + y) * across + column + x;
                #pragma unroll
                for (int k = 0; k < 4; ++k) {
                    float value = at[8 * k * across];
                    sums[k][0] += weight.x * value;
                    sums[k][1] += weight.y * value;
                    sums[k][2] += weight.z * value;
                    sums[k][3] += weight.w * value;
                }
            }
    #pragma unroll
    for (int k = 0; k < 4; ++k) {
        Index y = y0 + row + 8 * k, x = x0 + column;
        #pragma unroll
        for (int m = 0; m < 4; ++m)
            if (y < out_height && x < out_width && map + m < maps)
                out[((image * out_height + y) * out_width + x) * maps + map + m] = sums[k][m];
    }
}
#define WHITEN(name, From) extern "C" __global__ void name( \
    const From* images, Index height, Index width, Index channels, const float* gain, \
    const float* shift, const float* filter, Index fy, Index fx, Index top, Index left, \
    Index out_height, Index out_width, Index maps, Index map, float* out) { \
    whiten(images, height, width, channels, gain, shift, filter, fy, fx, top, left, out_height, \
           out_width, maps, map, out); }
WHITEN(whiten_uint8, unsigned char)
WHITEN(whiten_uint16, Bits16)
