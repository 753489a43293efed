// A visit of a chunk of positions: what lies between its four matrix products.
// Buffers are (position, image, input or unit); a stride is what lies between two positions.

// x <- alpha scale field, r <- 2 (b - scale field), as far as one piece of the field has it.
// blocks: (image, position); r and offset may be null.
template <typename From, typename To>
__device__ void gather(
    const From* field, Index height, Index width, Index maps, Index first_image,
    Index top, Index left, Index first_position, Index columns, Index step,
    Index window_height, Index window_width, double scale, const float* alpha,
    const float* offset, To* x, Index x_stride, float* r, Index r_stride) {
    Index image = blockIdx.x, position = blockIdx.y;
    Index row = (first_position + position) / columns * step - top;  // the window, in the piece
    Index column = (first_position + position) % columns * step - left;
    int y0 = row < 0 ? -row : 0, x0 = column < 0 ? -column : 0;
    int y1 = row + window_height > height ? height - row : window_height;
    int x1 = column + window_width > width ? width - column : window_width;
    if (y1 <= y0 || x1 <= x0) return;
    Index inputs = window_height * window_width * maps;
    const From* source = field + (first_image + image) * height * width * maps;
    float factor = alpha[position], by = (float)scale;
    unsigned run = (unsigned)((x1 - x0) * maps), count = run * (unsigned)(y1 - y0);
    for (unsigned i = threadIdx.x; i < count; i += blockDim.x) {
        Index y = y0 + i / run, at = x0 * maps + i % run;
        float value = by * widened(source[((row + y) * width + column) * maps + at]);
        Index d = y * window_width * maps + at;
        store(x + position * x_stride + image * inputs + d, factor * value);
        if (r) r[position * r_stride + image * inputs + d] =
            2.0f * (offset[position * inputs + d] - value);
    }
}

#define GATHER(name, From, To) extern "C" __global__ void name( \
    const From* field, Index height, Index width, Index maps, Index first_image, Index top, \
    Index left, Index first_position, Index columns, Index step, Index window_height, \
    Index window_width, double scale, const float* alpha, const float* offset, To* x, \
    Index x_stride, float* r, Index r_stride) { \
    gather(field, height, width, maps, first_image, top, left, first_position, columns, step, \
           window_height, window_width, scale, alpha, offset, x, x_stride, r, r_stride); }
GATHER(gather_float_float, float, float)
GATHER(gather_float_brain, float, Brain)
GATHER(gather_half_float, Half, float)
GATHER(gather_half_brain, Half, Brain)

// g <- sparsity s / sqrt(s^2 + epsilon), and the sum of these roots per slice.
// blocks: (slice, position), `size` elements a position; s16 may be null.
extern "C" __global__ void code_terms(
    const float* s, Index s_stride, Index size, double sparsity, double epsilon, float* g,
    Index g_stride, Brain* s16, Index s16_stride, double* parts) {
    Index position = blockIdx.y, slices = gridDim.x;
    Index stop = slice_start(size, blockIdx.x + 1, slices);
    float weight = (float)sparsity, smoothing = (float)epsilon;
    double total = 0;
    for (Index i = slice_start(size, blockIdx.x, slices) + threadIdx.x; i < stop; i += blockDim.x) {
        float value = s[position * s_stride + i];
        float magnitude = sqrtf(value * value + smoothing);
        g[position * g_stride + i] = weight * value / magnitude;
        if (s16) store(s16 + position * s16_stride + i, value);
        total += magnitude;
    }
    total = block_sum(total);
    if (threadIdx.x == 0) parts[position * slices + blockIdx.x] = total;
}

// sums <- 2 r summed over images, and the sum of r^2 per group of columns, from 2 r.
// blocks: (group of blockDim inputs, position); r16 may be null.
extern "C" __global__ void residual_terms(
    const float* r, Index r_stride, Index images, Index inputs, float* sums, Brain* r16,
    Index r16_stride, double* parts) {
    Index position = blockIdx.y, d = (Index)blockIdx.x * blockDim.x + threadIdx.x;
    double squares = 0;
    if (d < inputs) {
        const float* column = r + position * r_stride + d;
        float total = 0, squared = 0;
        #pragma unroll 8
        for (Index image = 0; image < images; ++image) {
            float value = column[image * inputs];
            if (r16) store(r16 + position * r16_stride + image * inputs + d, value);
            total += value;
            squared += value * value;
        }
        sums[position * inputs + d] = total;
        squares = 0.25 * (double)squared;
    }
    squares = block_sum(squares);
    if (threadIdx.x == 0) parts[position * gridDim.x + blockIdx.x] = squares;
}

// The sum of g s per slice; g16 <- g. blocks: (slice, position); g16 may be null.
extern "C" __global__ void gradient_terms(
    const float* g, Index g_stride, const float* s, Index s_stride, Index size, Brain* g16,
    Index g16_stride, double* parts) {
    Index position = blockIdx.y, slices = gridDim.x;
    Index stop = slice_start(size, blockIdx.x + 1, slices);
    double total = 0;
    for (Index i = slice_start(size, blockIdx.x, slices) + threadIdx.x; i < stop; i += blockDim.x) {
        float value = g[position * g_stride + i];
        if (g16) store(g16 + position * g16_stride + i, value);
        total += value * s[position * s_stride + i];
    }
    total = block_sum(total);
    if (threadIdx.x == 0) parts[position * slices + blockIdx.x] = total;
}

// w <- w - rate m, rows to unit norm (NaN where there is none). blocks: (row); w16 may be null.
// Shared memory holds a row where `kept` says so; otherwise it is read twice.
extern "C" __global__ void update_rows(
    float* w, const float* m, Index inputs, double rate, Brain* w16, Index kept) {
    DYNAMIC_SHARED(float, row);
    Index first = (Index)blockIdx.x * inputs;
    float* target = w + first;
    float* held = kept ? row : target;
    float by = (float)rate, squares = 0;
    #pragma unroll 4
    for (Index d = threadIdx.x; d < inputs; d += blockDim.x) {
        float value = target[d] - by * m[first + d];
        held[d] = value;
        squares += value * value;
    }
    squares = block_sum(squares);
    float factor = squares > 0.0f && squares < 3e38f ? 1.0f / sqrtf(squares) : __uint_as_float(0x7fc00000u);
    #pragma unroll 4
    for (Index d = threadIdx.x; d < inputs; d += blockDim.x) {
        float value = held[d] * factor;
        target[d] = value;
        if (w16) store(w16 + first + d, value);
    }
}

// The costs of a step, summed over images, and alpha's descent. A thread per position.
extern "C" __global__ void finish_step(
    const double* roots, const double* products, Index slices, const double* squares, Index groups,
    Index positions, double sparsity, double decay, double share, double rate, float* alpha,
    float* momentum, double* costs) {
    Index position = (Index)blockIdx.x * blockDim.x + threadIdx.x;
    if (position >= positions) return;
    double magnitude = 0, by_alpha = 0, reconstruction = 0;
    for (Index i = 0; i < slices; ++i) {
        magnitude += roots[position * slices + i];
        by_alpha += products[position * slices + i];
    }
    for (Index i = 0; i < groups; ++i) reconstruction += squares[position * groups + i];
    costs[2 * position] = reconstruction;
    costs[2 * position + 1] = sparsity * magnitude;
    double step = decay * momentum[position] + share * by_alpha / alpha[position];
    momentum[position] = (float)step;
    alpha[position] = (float)(alpha[position] - rate * step);
}

// The code (position, image, unit) as tiles of the output field. blocks: (image, position).
template <typename To> __device__ void scatter(
    const float* s, Index s_stride, Index units, Index first_position, Index columns, Index tile_height,
    Index tile_width, Index maps, To* out, Index first_image, Index height, Index width) {
    Index position = first_position + blockIdx.y;
    Index top = position / columns * tile_height, left = position % columns * tile_width;
    const float* code = s + blockIdx.y * s_stride + blockIdx.x * units;
    To* image = out + (first_image + blockIdx.x) * height * width * maps;
    unsigned run = (unsigned)(tile_width * maps);
    for (unsigned k = threadIdx.x; k < units; k += blockDim.x)
        store(image + ((top + k / run) * width + left) * maps + k % run, code[k]);
}

#define SCATTER(name, To) extern "C" __global__ void name( \
    const float* s, Index s_stride, Index units, Index first_position, Index columns, \
    Index tile_height, Index tile_width, Index maps, To* out, Index first_image, Index height, Index width) { \
    scatter(s, s_stride, units, first_position, columns, tile_height, tile_width, maps, out, \
            first_image, height, width); }
SCATTER(scatter_float, float)
SCATTER(scatter_half, Half)

// out <- in, rounded; rows of `width` values, `apart` from row to row of `in`, `out_apart` of `out`.
// blocks: any number.
extern "C" __global__ void round_to_brain(
    const float* in, Index rows, Index width, Index apart, Brain* out, Index out_apart) {
    Index step = (Index)gridDim.x * blockDim.x;
    for (Index i = (Index)blockIdx.x * blockDim.x + threadIdx.x; i < rows * width; i += step)
        store(out + i / width * out_apart + i % width, in[i / width * apart + i % width]);
}

// The way back, which is exact.
extern "C" __global__ void widen_brain(
    const Brain* in, Index rows, Index width, Index apart, float* out, Index out_apart) {
    Index step = (Index)gridDim.x * blockDim.x;
    for (Index i = (Index)blockIdx.x * blockDim.x + threadIdx.x; i < rows * width; i += step)
        out[i / width * out_apart + i % width] = widened(in[i / width * apart + i % width]);
}
