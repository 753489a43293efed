// LCN: maps are reduced first, the window runs over one-channel planes. Planes are (image, y, x).

// plane <- sum over maps of y, or of (y - mean)^2, where a piece and a rectangle overlap.
// `y` points at the overlap's first pixel of the first image. blocks: (group of pixels, row, image).
template <typename From> __device__ void reduce_maps(
    const From* y, Index image_values, Index row_values, Index maps, Index columns,
    const float* mean, Index mean_image, Index mean_row,
    float* plane, Index plane_image, Index plane_row) {
    Index x = (Index)blockIdx.x * blockDim.x + threadIdx.x, row = blockIdx.y, image = blockIdx.z;
    if (x >= columns) return;
    const From* pixel = y + image * image_values + row * row_values + x * maps;
    float middle = mean ? mean[image * mean_image + row * mean_row + x] : 0.0f, total = 0;
    for (Index map = 0; map < maps; ++map) {
        float value = widened(pixel[map]) - middle;
        total += mean ? value * value : value;
    }
    plane[image * plane_image + row * plane_row + x] = total;
}
#define REDUCE_MAPS(name, From) extern "C" __global__ void name( \
    const From* y, Index image_values, Index row_values, Index maps, Index columns, \
    const float* mean, Index mean_image, Index mean_row, float* plane, Index plane_image, \
    Index plane_row) { \
    reduce_maps(y, image_values, row_values, maps, columns, mean, mean_image, mean_row, plane, \
                plane_image, plane_row); }
REDUCE_MAPS(reduce_maps_float, float)
REDUCE_MAPS(reduce_maps_half, Half)

// out <- the window over a plane with a border of `radius` on every side, its root if `root`.
// A block makes blockDim = 32 x 8 pixels (as 256 threads). blocks: (columns, rows, image).
extern "C" __global__ void smooth(
    const float* plane, const float* taps, Index radius, const float* row_scales,
    const float* column_scales, Index height, Index width, Index root, float* out) {
    DYNAMIC_SHARED(float, tile);  // (8 + 2 radius, 32 + 2 radius), then (8, 32 + 2 radius)
    int across = 32 + 2 * (int)radius, down = 8 + 2 * (int)radius, size = 2 * (int)radius + 1;
    Index top = (Index)blockIdx.y * 8, left = (Index)blockIdx.x * 32;
    Index full = width + 2 * radius, rows = height + 2 * radius;
    const float* source = plane + blockIdx.z * full * rows;
    float* lines = tile + across * down;
    for (int i = threadIdx.x; i < across * down; i += blockDim.x) {
        Index y = top + i / across, x = left + i % across;
        tile[i] = y < rows && x < full ? source[y * full + x] : 0.0f;
    }
    __syncthreads();
    for (int i = threadIdx.x; i < across * 8; i += blockDim.x) {
        float total = 0;
        for (int t = 0; t < size; ++t) total += taps[t] * tile[i + t * across];
        lines[i] = total;
    }
    __syncthreads();
    int row = threadIdx.x / 32, column = threadIdx.x % 32;
    if (top + row >= height || left + column >= width) return;
    float total = 0;
    for (int t = 0; t < size; ++t) total += taps[t] * lines[row * across + column + t];
    total *= row_scales[top + row] * column_scales[left + column];
    out[((Index)blockIdx.z * height + top + row) * width + left + column] = root ? sqrtf(total) : total;
}

// sums (row) <- sums + the row's values, in double. blocks: (row).
template <typename From> __device__ void add_row(const From* values, Index width, double* sums) {
    double total = 0;
    for (Index x = threadIdx.x; x < width; x += blockDim.x) total += values[blockIdx.x * width + x];
    total = block_sum(total);
    if (threadIdx.x == 0) sums[blockIdx.x] += total;
}
extern "C" __global__ void add_rows_float(const float* values, Index width, double* sums) {
    add_row(values, width, sums);
}
extern "C" __global__ void add_rows_double(const double* values, Index width, double* sums) {
    add_row(values, width, sums);
}

// moments (row, 2) <- sum and sum of squares of a field's row over all images. blocks: (row).
template <typename From> __device__ void moments_of(
    const From* field, Index images, Index image_values, Index row_values, double* moments) {
    double total = 0, squares = 0;
    for (Index image = 0; image < images; ++image) {
        const From* row = field + image * image_values + blockIdx.x * row_values;
        for (Index x = threadIdx.x; x < row_values; x += blockDim.x) {
            double value = widened(row[x]);
            total += value;
            squares += value * value;
        }
    }
    total = block_sum(total);
    squares = block_sum(squares);
    if (threadIdx.x == 0) {
        moments[2 * blockIdx.x] = total;
        moments[2 * blockIdx.x + 1] = squares;
    }
}
#define MOMENTS(name, From) extern "C" __global__ void name( \
    const From* field, Index images, Index image_values, Index row_values, double* moments) { \
    moments_of(field, images, image_values, row_values, moments); }
MOMENTS(row_moments_float, float)
MOMENTS(row_moments_half, Half)

// out <- (y - mean) / max(sigma, c, floor) where a piece and a rectangle overlap; pointers are at
// the overlap's first pixel. With 2 signs, the positive parts of all maps and then the negative
// ones. blocks: (group of values, row, image).
template <typename From, typename To> __device__ void divide(
    const From* y, Index image_values, Index row_values, Index maps, Index columns,
    const float* mean, const float* sigma, Index plane_image, Index plane_row, const double* c,
    double floor, Index signs, To* out, Index out_image, Index out_row) {
    Index i = (Index)blockIdx.x * blockDim.x + threadIdx.x, row = blockIdx.y, image = blockIdx.z;
    if (i >= columns * maps) return;
    Index pixel = (unsigned)i / (unsigned)maps, at = image * plane_image + row * plane_row + pixel;
    float least = (float)(c[image] > floor ? c[image] : floor);
    float value = widened(y[image * image_values + row * row_values + i]) - mean[at];
    value /= fmaxf(sigma[at], least);
    To* to = out + image * out_image + row * out_row + i;
    if (signs == 1) {
        store(to, value);
    } else {  // what is not a number stays that in both
        store(to + pixel * maps, value < 0 ? 0.0f : value);
        store(to + (pixel + 1) * maps, value > 0 ? 0.0f : 0.0f - value);
    }
}
#define DIVIDE(name, From, To) extern "C" __global__ void name( \
    const From* y, Index image_values, Index row_values, Index maps, Index columns, \
    const float* mean, const float* sigma, Index plane_image, Index plane_row, const double* c, \
    double floor, Index signs, To* out, Index out_image, Index out_row) { \
    divide(y, image_values, row_values, maps, columns, mean, sigma, plane_image, plane_row, c, \
           floor, signs, out, out_image, out_row); }
DIVIDE(divide_float_float, float, float)
DIVIDE(divide_float_half, float, Half)
DIVIDE(divide_half_float, Half, float)
DIVIDE(divide_half_half, Half, Half)
