// Runs CUDA kernels' own source on the host: a block's threads are fibres that take turns at every
// barrier, so what they share and where they wait is as on a GPU, one block after the other.
#include <math.h>
#include <setjmp.h>
#include <string.h>
#include <ucontext.h>

#define __global__
#define __device__
#define __shared__ static
#define DYNAMIC_SHARED(type, name) type* name = (type*)emulator::shared

struct Dim { unsigned x, y, z; };
static Dim blockIdx, blockDim, gridDim, threadIdx;
struct float4 { float x, y, z, w; };

namespace emulator {
const unsigned STACK = 16 << 10, MOST = 1024, SHARED = 100 << 10;
struct Fibre { jmp_buf place; char stack[STACK]; bool over; };
static Fibre fibres[MOST];
static unsigned made;
static ucontext_t home, first;
static jmp_buf back;
static unsigned current;
static float4 shared[SHARED / sizeof(float4)];
static unsigned char slots[MOST][8];
static void (*body)(void**);
static void** arguments;

// Switches by longjmp, which asks the kernel for nothing; ucontext only makes a fibre's stack.
__attribute__((noinline)) static void yield() {
    if (!_setjmp(fibres[current].place)) _longjmp(back, 1);
}
__attribute__((noinline)) static void resume() {
    if (!_setjmp(back)) _longjmp(fibres[current].place, 1);
}
static void run() {  // a fibre serves one thread of every block
    if (!_setjmp(fibres[current].place)) swapcontext(&first, &home);
    while (true) {
        body(arguments);
        fibres[current].over = true;
        yield();
    }
}
static void make_fibres(unsigned threads) {
    for (; made < threads; ++made) {
        current = made;
        getcontext(&first);
        first.uc_stack.ss_sp = fibres[made].stack;
        first.uc_stack.ss_size = STACK;
        makecontext(&first, run, 0);
        swapcontext(&home, &first);
    }
}

// One block; 1 if some of its threads ended while others waited at a barrier.
static int block(unsigned threads) {
    make_fibres(threads);
    for (unsigned i = 0; i < threads; ++i) fibres[i].over = false;
    while (true) {
        unsigned over = 0;
        for (current = 0; current < threads; ++current) {
            threadIdx = {current, 0, 0};
            resume();
            over += fibres[current].over;
        }
        if (over == threads) return 0;
        if (over) return 1;
    }
}

static int launch(void (*kernel)(void**), const unsigned* blocks, unsigned threads, size_t bytes, void** given) {
    body = kernel; arguments = given;
    memset(shared, 0xff, bytes);  // NaN
    gridDim = {blocks[0], blocks[1], blocks[2]};
    blockDim = {threads, 1, 1};
    for (unsigned z = 0; z < blocks[2]; ++z)
        for (unsigned y = 0; y < blocks[1]; ++y)
            for (unsigned x = 0; x < blocks[0]; ++x) {
                blockIdx = {x, y, z};
                if (block(threads)) return 1;
            }
    return 0;
}
}

static void __syncthreads() { emulator::yield(); }
template <typename T> static T __shfl_xor_sync(unsigned, T value, int apart) {
    unsigned me = emulator::current;
    memcpy(emulator::slots[me], &value, sizeof(T));
    emulator::yield();
    T other;
    memcpy(&other, emulator::slots[me ^ apart], sizeof(T));
    emulator::yield();
    return other;
}
static unsigned __float_as_uint(float value) { unsigned bits; memcpy(&bits, &value, 4); return bits; }
static float __uint_as_float(unsigned bits) { float value; memcpy(&value, &bits, 4); return value; }
