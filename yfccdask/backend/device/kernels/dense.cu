// The dense layer, leaf by leaf: what lies between the products of `dense_visits`.

// x (image, input) <- scale times values first, first + 1, … of a region, as far as a piece has
// them. Columns are counted in values. blocks: (group of inputs, image).
template <typename From> __device__ void inputs_of(
    const From* field, Index height, Index width, Index first_image, Index top, Index left,
    Index first, Index count, Index row_values, double scale, float* x) {
    Index j = (Index)blockIdx.x * blockDim.x + threadIdx.x;
    if (j >= count) return;
    Index y = (first + j) / row_values - top, column = (first + j) % row_values - left;
    if (y < 0 || y >= height || column < 0 || column >= width) return;
    Index image = first_image + blockIdx.y;
    x[blockIdx.y * count + j] = (float)scale * widened(field[(image * height + y) * width + column]);
}
#define INPUTS(name, From) extern "C" __global__ void name( \
    const From* field, Index height, Index width, Index first_image, Index top, Index left, \
    Index first, Index count, Index row_values, double scale, float* x) { \
    inputs_of(field, height, width, first_image, top, left, first, count, row_values, scale, x); }
INPUTS(inputs_float, float)
INPUTS(inputs_half, Half)

// s <- alpha z, slope <- sparsity s / sqrt(s^2 + epsilon), sums of these roots. blocks: (slice).
extern "C" __global__ void dense_code_terms(
    const float* z, Index size, const float* alpha, double sparsity, double epsilon, float* s,
    float* slope, double* parts) {
    Index stop = slice_start(size, blockIdx.x + 1, gridDim.x);
    float factor = *alpha;
    double total = 0;
    for (Index i = slice_start(size, blockIdx.x, gridDim.x) + threadIdx.x; i < stop; i += blockDim.x) {
        float value = factor * z[i];
        float magnitude = sqrtf(value * value + (float)epsilon);
        s[i] = value;
        slope[i] = (float)sparsity * value / magnitude;
        total += magnitude;
    }
    total = block_sum(total);
    if (threadIdx.x == 0) parts[blockIdx.x] = total;
}

// r <- r + offset - x, by_offset <- its sum over images, sums of r^2. blocks: (group of inputs).
extern "C" __global__ void dense_residual_terms(
    float* r, const float* x, const float* offset, Index images, Index inputs, float* by_offset,
    double* parts) {
    Index d = (Index)blockIdx.x * blockDim.x + threadIdx.x;
    double squares = 0;
    if (d < inputs) {
        float total = 0, middle = offset[d];
        for (Index i = d; i < images * inputs; i += inputs) {
            float value = r[i] + middle - x[i];
            r[i] = value;
            total += value;
            squares += (double)value * value;
        }
        by_offset[d] = total;
    }
    squares = block_sum(squares);
    if (threadIdx.x == 0) parts[blockIdx.x] = squares;
}

// scaled <- alpha g with g = 2 h + slope, s <- 2 s, sums of g z. blocks: (slice).
extern "C" __global__ void dense_code_gradient(
    const float* h, const float* slope, const float* z, const float* alpha, Index size, float* s,
    float* scaled, double* parts) {
    Index stop = slice_start(size, blockIdx.x + 1, gridDim.x);
    float factor = *alpha;
    double total = 0;
    for (Index i = slice_start(size, blockIdx.x, gridDim.x) + threadIdx.x; i < stop; i += blockDim.x) {
        float g = 2.0f * h[i] + slope[i];
        scaled[i] = factor * g;
        s[i] *= 2.0f;
        total += g * z[i];
    }
    total = block_sum(total);
    if (threadIdx.x == 0) parts[blockIdx.x] = total;
}

// total <- the parts in order. One thread's work.
extern "C" __global__ void add_parts(const double* parts, Index count, double* total) {
    if (threadIdx.x) return;
    double sum = 0;
    for (Index i = 0; i < count; ++i) sum += parts[i];
    *total = sum;
}

// w <- scale w - rate m over some columns, and the new values' squares. blocks: (row).
extern "C" __global__ void descend_columns(
    float* w, Index apart, const float* m, Index m_apart, Index columns, double rate,
    const float* scale, double* squares) {
    Index row = blockIdx.x;
    float factor = scale[row], by = (float)rate;
    double total = 0;
    for (Index d = threadIdx.x; d < columns; d += blockDim.x) {
        float value = factor * w[row * apart + d] - by * m[row * m_apart + d];
        w[row * apart + d] = value;
        total += (double)value * value;
    }
    total = block_sum(total);
    if (threadIdx.x == 0) squares[row] = total;
}

// m <- decay m + share gradient, p <- p - rate m. A thread per value.
extern "C" __global__ void descend_values(
    float* p, float* m, const float* gradient, Index size, double decay, double share, double rate) {
    Index i = (Index)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= size) return;
    float step = (float)decay * m[i] + (float)share * gradient[i];
    m[i] = step;
    p[i] -= (float)rate * step;
}

// The same for alpha, whose gradient is a double. One thread's work.
extern "C" __global__ void descend_alpha(
    float* alpha, float* m, const double* gradient, double decay, double share, double rate) {
    if (threadIdx.x) return;
    double step = decay * *m + share * *gradient;
    *m = (float)step;
    *alpha = (float)(*alpha - rate * step);
}
