// A libcuda.so.1 for tests: it refuses every argument that is not what it must be, device memory is the
// host's, and kernels are a CPU's builds (stub_kernels.h).
//
// Work is queued and runs when an event is asked for, as far as a hold lets it. The stub has a time of
// its own: an event takes 0.5 us, and moving a byte 1 ps. $STUB_GPU makes another machine of it:
// "version=12040 gpus=0 capability=75 sms=16", and "crash=1" or "hang=1" in cuInit.
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <deque>
#include <functional>
#include <map>
#include <string>

#include "stub_kernels.h"

namespace {

enum Result : int {
    kSuccess = 0, kInvalid = 1, kNoMemory = 2, kNoImage = 200, kNotFound = 500, kNotReady = 600
};
using stub::Kernel;
using stub::Word;
using stub::knob;
using Work = std::function<bool()>;  // false: not yet

struct Event {
    bool done;
    double at_ms;
};
using Graph = std::vector<Work>;

const char* const kContext = "context";
const char* const kStream = "stream";
std::deque<Work> queue;
Graph* captured = nullptr;
double now_ms = 0;
Word used = 0;  // bytes of device memory

Word memory() { return knob("memory", Word{1} << 36); }

int enqueue(const void* stream, Work work) {
    if (stream != kStream) return kInvalid;
    captured ? captured->push_back(work) : queue.push_back(work);
    return kSuccess;
}
int set_memory(Word target, int value, size_t bytes, void* stream) {
    void* const to = reinterpret_cast<void*>(target);
    return enqueue(stream, [=] { return memset(to, value, bytes) != nullptr; });
}
int copy(Word target, Word source, size_t bytes, void* stream) {
    if (bytes == 0) return kInvalid;
    void* const to = reinterpret_cast<void*>(target);
    const void* const from = reinterpret_cast<void*>(source);
    return enqueue(stream, [=] { return memcpy(to, from, bytes), now_ms += 1e-9 * bytes, true; });
}
void run_queue() {
    while (!queue.empty() && queue.front()()) queue.pop_front();
}
}  // namespace

#define STUB extern "C" int

STUB cuInit(unsigned flags) {
    if (knob("hang", 0)) sleep(600);
    if (knob("crash", 0)) abort();
    return flags == 0 ? kSuccess : kInvalid;
}
STUB cuDriverGetVersion(int* version) { return *version = knob("version", 13000), kSuccess; }
STUB cuDeviceGetCount(int* count) { return *count = knob("gpus", 2), kSuccess; }
STUB cuDeviceGet(int* device, int ordinal) { return *device = ordinal, kSuccess; }
STUB cuDeviceGetName(char* name, int room, int) { return strncpy(name, "Stub GPU", room), kSuccess; }
STUB cuDeviceGetUuid_v2(char* uuid, int device) { return memset(uuid, 0xa0 + device, 16), kSuccess; }
STUB cuDeviceTotalMem_v2(size_t* bytes, int) { return *bytes = memory(), kSuccess; }
STUB cuDeviceGetAttribute(int* value, int attribute, int) {
    const int capability = knob("capability", 90), sms = knob("sms", 132), l2 = knob("l2", 50 << 20);
    const std::map<int, int> known{{75, capability / 10}, {76, capability % 10}, {16, sms},
                                   {38, l2}, {13, 1980000}, {36, 0}};
    const auto found = known.find(attribute);
    return found == known.end() ? kInvalid : (*value = found->second, kSuccess);
}
STUB cuGetErrorString(int, const char** text) { return *text = "stub", kSuccess; }
STUB cuDevicePrimaryCtxRetain(const void** context, int) { return *context = kContext, kSuccess; }
STUB cuDevicePrimaryCtxRelease_v2(int) { return kSuccess; }
STUB cuCtxSetCurrent(const void* context) { return context == kContext ? kSuccess : kInvalid; }
STUB cuCtxSynchronize() { return run_queue(), queue.empty() ? kSuccess : kInvalid; }

STUB cuMemAlloc_v2(void** address, size_t bytes) {
    if (bytes == 0) return kInvalid;
    if (bytes > memory() - used) return kNoMemory;
    *address = aligned_alloc(256, (bytes + 255) / 256 * 256);  // as CUDA aligns
    memset(*address, 0xee, bytes);
    return used += malloc_usable_size(*address), kSuccess;
}
STUB cuMemFree_v2(void* address) {
    used -= malloc_usable_size(address);
    return free(address), kSuccess;
}
STUB cuMemGetInfo_v2(size_t* available, size_t* total) {
    return *available = memory() - used, *total = memory(), kSuccess;
}
STUB cuPointerGetAttribute(int* value, int attribute, void*) {
    return attribute == 9 ? (*value = knob("of_memory", 0), kSuccess) : kInvalid;
}
STUB cuMemHostAlloc(void** address, size_t bytes, unsigned flags) {
    return flags == 2 ? (*address = calloc(1, bytes), kSuccess) : kInvalid;
}
STUB cuMemAllocHost_v2(void** address, size_t bytes) { return cuMemHostAlloc(address, bytes, 2); }
STUB cuMemFreeHost(void* address) { return free(address), kSuccess; }
STUB cuMemHostGetDevicePointer_v2(void** mapped, void* address, unsigned flags) {
    return flags == 0 ? (*mapped = address, kSuccess) : kInvalid;
}
STUB cuMemsetD8Async(Word target, unsigned char value, size_t bytes, void* stream) {
    return set_memory(target, value, bytes, stream);
}
STUB cuMemcpyDtoDAsync_v2(Word to, Word from, size_t bytes, void* stream) {
    return copy(to, from, bytes, stream);
}
struct Rows {  // CUDA_MEMCPY2D
    size_t source_x, source_y;
    int source_type;
    const void* source_host;
    Word source;
    void* source_array;
    size_t source_pitch;
    size_t target_x, target_y;
    int target_type;
    void* target_host;
    Word target;
    void* target_array;
    size_t target_pitch;
    size_t width, height;
};
STUB cuMemcpy2DAsync_v2(const Rows* how, void* stream) {
    const Rows r = *how;
    const bool is_at_start = !r.source_x && !r.source_y && !r.target_x && !r.target_y;
    const bool is_on_gpu = r.source_type == 2 && r.target_type == 2;
    if (!is_at_start || !is_on_gpu || r.width > r.source_pitch || r.width > r.target_pitch)
        return kInvalid;
    for (size_t row = 0; row < r.height; ++row) {
        const Word to = r.target + row * r.target_pitch, from = r.source + row * r.source_pitch;
        if (const int refused = copy(to, from, r.width, stream)) return refused;
    }
    return kSuccess;
}
STUB cuMemcpyHtoDAsync_v2(Word to, Word from, size_t bytes, void* stream) {
    return copy(to, from, bytes, stream);
}
STUB cuMemcpyDtoHAsync_v2(Word to, Word from, size_t bytes, void* stream) {
    return copy(to, from, bytes, stream);
}

STUB cuStreamCreate(const void** stream, unsigned flags) {
    return flags == 1 ? (*stream = kStream, kSuccess) : kInvalid;
}
STUB cuStreamDestroy_v2(void* stream) { return stream == kStream ? kSuccess : kInvalid; }
STUB cuEventCreate(Event** event, unsigned) { return *event = new Event{}, kSuccess; }
STUB cuEventDestroy_v2(Event* event) { return delete event, kSuccess; }
STUB cuEventRecord(Event* event, void* stream) {
    event->done = false;
    return enqueue(stream, [=] { return *event = {true, now_ms += 0.0005}, true; });
}
STUB cuEventQuery(Event* event) {
    run_queue();
    return event->done ? kSuccess : kNotReady;
}
STUB cuEventElapsedTime(float* ms, Event* start, Event* stop) {
    return *ms = static_cast<float>(stop->at_ms - start->at_ms), kSuccess;
}

STUB cuStreamBeginCapture_v2(void* stream, int mode) {
    return stream == kStream && mode == 2 ? (captured = new Graph, kSuccess) : kInvalid;
}
STUB cuStreamIsCapturing(void* stream, int* status) {
    return stream == kStream ? (*status = captured != nullptr, kSuccess) : kInvalid;
}
STUB cuStreamEndCapture(void*, Graph** graph) {
    return *graph = captured, captured = nullptr, kSuccess;
}
STUB cuGraphInstantiateWithFlags(Graph** executable, Graph* graph, Word flags) {
    return flags == 0 ? (*executable = new Graph(*graph), kSuccess) : kInvalid;
}
STUB cuGraphUpload(Graph*, void* stream) { return stream == kStream ? kSuccess : kInvalid; }
STUB cuGraphLaunch(Graph* executable, void* stream) {
    for (const Work& work : *executable) enqueue(stream, work);
    return kSuccess;
}
STUB cuGraphDestroy(Graph* graph) { return delete graph, kSuccess; }
STUB cuGraphExecDestroy(Graph* executable) { return delete executable, kSuccess; }

STUB cuLibraryLoadData(void** library, const char* code, void* options, void*, unsigned count,
                       void* more, void*, unsigned more_count) {
    if (options || count || more || more_count) return kInvalid;
    return (*library = stub::load(code)) ? kSuccess : kNoImage;
}
STUB cuLibraryUnload(void*) { return kSuccess; }
STUB cuLibraryGetKernel(Kernel** kernel, void* library, const char* name) {
    *kernel = new Kernel;
    return stub::find(library, name, **kernel) ? kSuccess : kNotFound;
}
STUB cuKernelGetFunction(Kernel** function, Kernel* kernel) { return *function = kernel, kSuccess; }
STUB cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, Kernel*, int threads, size_t shared) {
    return shared == 0 ? (*blocks = 2048 / threads, kSuccess) : kInvalid;
}
STUB cuLaunchKernel(Kernel* kernel, unsigned blocks, unsigned rows, unsigned gz, unsigned threads,
                    unsigned by, unsigned bz, unsigned shared, void* stream, Word** arguments,
                    void* extra) {
    const bool is_flat = rows == 1 || kernel->by_value;  // rows are virtual ranks
    if (!rows || !is_flat || gz != 1 || by != 1 || bz != 1 || threads == 0 || shared || extra)
        return kInvalid;
    stub::Launch launch = stub::copied(*kernel, rows, blocks, threads, arguments);
    if (kernel->blocks_at >= 0) {
        if (launch.words[kernel->blocks_at] != blocks) return kInvalid;
        launch.words[kernel->blocks_at] = 1;  // on the CPU there is one
    }
    return enqueue(stream, [=] { return stub::run(launch, &now_ms); });
}
STUB cuLaunchCooperativeKernel(Kernel* kernel, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
                               unsigned by, unsigned bz, unsigned shared, void* stream,
                               Word** arguments) {
    return cuLaunchKernel(kernel, gx, gy, gz, bx, by, bz, shared, stream, arguments, nullptr);
}

// For stand-ins of libraries that enqueue; `work` takes `ms`, and may say "not yet".
STUB stub_enqueue(void* stream, bool (*work)(void*), void* data, double ms) {
    return enqueue(stream, [=] { return work(data) && (now_ms += ms, true); });
}

STUB cuGetExportTable(const void** table, const void*) {  // NVRTC asks, and does without
    return *table = nullptr, kNotFound;
}

// Through this the bindings find all others; a function may have a newer version of its own name.
STUB cuGetProcAddress_v2(const char* name, void** function, int, Word, int* status) {
    static void* const self = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
    *function = nullptr;
    for (const char* suffix : {"_v2", "WithFlags", ""}) {
        if (!*function) *function = dlsym(self, (std::string(name) + suffix).c_str());
    }
    if (status) *status = *function ? 0 : 1;
    return *function ? kSuccess : kNotFound;
}
