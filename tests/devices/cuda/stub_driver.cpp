// A libcuda.so.1 for tests: it refuses every argument that is not what it must be, device memory is the
// host's, and a "cubin" is the path of a library that the host's compiler built.
//
// Work is queued and runs when an event is asked for, as far as a hold lets it. A kernel takes 5 us of
// the stub's own time. Environment variables make another machine of it: STUB_CUDA=12040, STUB_GPUS=0,
// STUB_CAPABILITY=75, STUB_INIT=hang or crash.
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <deque>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace {

enum Result : int { kSuccess = 0, kInvalid = 1, kNoMemory = 2, kNotFound = 500, kNotReady = 600 };
using Word = uint64_t;
using Work = std::function<bool()>;  // false: not yet

struct Event {
    bool done;
    double at_ms;
};
struct Kernel {
    void* code;
    int arguments;
    int blocks_at;  // which argument repeats the number of blocks, -1 if none
    bool holds;
};
using Graph = std::vector<Work>;

int variable(const char* name, int otherwise) {
    const char* const text = getenv(name);
    return text ? atoi(text) : otherwise;
}

const char* const kContext = "context";
const char* const kStream = "stream";
std::deque<Work> queue;
Graph* captured = nullptr;
double now_ms = 0;

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
    return enqueue(stream, [=] { return memcpy(to, from, bytes) != nullptr; });
}
Kernel describe(const std::string& name, void* code) {
    if (name == "nvrar_hold") return {code, 4, -1, true};
    if (name == "nvrar_fill") return {code, 4, 2, false};
    if (name.find("nvrar_check_exact") == 0) return {code, 5, 3, false};
    if (name.find("nvrar_check_rounding") == 0) return {code, 6, 4, false};
    return {code, 0, -1, false};
}
bool run(const Kernel& kernel, std::vector<Word> a) {
    if (kernel.holds && *reinterpret_cast<volatile Word*>(a[0]) < a[2]) return false;
    a.resize(6);
    using Code = void (*)(Word, Word, Word, Word, Word, Word);
    reinterpret_cast<Code>(kernel.code)(a[0], a[1], a[2], a[3], a[4], a[5]);
    now_ms += 0.005;
    return true;
}

}  // namespace

#define STUB extern "C" int

STUB cuInit(unsigned flags) {
    const char* const how = getenv("STUB_INIT");
    if (how && !strcmp(how, "hang")) sleep(600);
    if (how && !strcmp(how, "crash")) abort();
    return flags == 0 ? kSuccess : kInvalid;
}
STUB cuDriverGetVersion(int* version) { return *version = variable("STUB_CUDA", 13000), kSuccess; }
STUB cuDeviceGetCount(int* count) { return *count = variable("STUB_GPUS", 2), kSuccess; }
STUB cuDeviceGet(int* device, int ordinal) { return *device = ordinal, kSuccess; }
STUB cuDeviceGetName(char* name, int room, int) { return strncpy(name, "Stub GPU", room), kSuccess; }
STUB cuDeviceGetUuid_v2(char* uuid, int device) { return memset(uuid, 0xa0 + device, 16), kSuccess; }
STUB cuDeviceTotalMem_v2(size_t* bytes, int) { return *bytes = size_t{1} << 36, kSuccess; }
STUB cuDeviceGetAttribute(int* value, int attribute, int) {
    const int capability = variable("STUB_CAPABILITY", 90);
    const std::map<int, int> known{{75, capability / 10}, {76, capability % 10}, {16, 132}, {38, 50 << 20}, {13, 1980000}, {36, 0}};
    const auto found = known.find(attribute);
    return found == known.end() ? kInvalid : (*value = found->second, kSuccess);
}
STUB cuGetErrorString(int, const char** text) { return *text = "stub", kSuccess; }
STUB cuDevicePrimaryCtxRetain(const void** context, int) { return *context = kContext, kSuccess; }
STUB cuDevicePrimaryCtxRelease_v2(int) { return kSuccess; }
STUB cuCtxSetCurrent(const void* context) { return context == kContext ? kSuccess : kInvalid; }

STUB cuMemAlloc_v2(void** address, size_t bytes) {
    if (bytes > size_t{1} << 34) return kNoMemory;
    return *address = malloc(bytes), kSuccess;
}
STUB cuMemFree_v2(void* address) { return free(address), kSuccess; }
STUB cuMemGetInfo_v2(size_t* available, size_t* total) {
    return *available = 111, *total = 222, kSuccess;
}
STUB cuMemHostAlloc(void** address, size_t bytes, unsigned flags) {
    return flags == 2 ? (*address = calloc(1, bytes), kSuccess) : kInvalid;
}
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
    return enqueue(stream, [=] { return *event = {true, now_ms}, true; });
}
STUB cuEventQuery(Event* event) {
    while (!queue.empty() && queue.front()()) queue.pop_front();
    return event->done ? kSuccess : kNotReady;
}
STUB cuEventElapsedTime(float* ms, Event* start, Event* stop) {
    return *ms = static_cast<float>(stop->at_ms - start->at_ms), kSuccess;
}

STUB cuStreamBeginCapture_v2(void* stream, int mode) {
    return stream == kStream && mode == 2 ? (captured = new Graph, kSuccess) : kInvalid;
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
    return (*library = dlopen(code, RTLD_NOW)) ? kSuccess : kInvalid;
}
STUB cuLibraryUnload(void*) { return kSuccess; }
STUB cuLibraryGetKernel(Kernel** kernel, void* library, const char* name) {
    void* code = dlsym(library, name);
    return code ? (*kernel = new Kernel(describe(name, code)), kSuccess) : kNotFound;
}
STUB cuKernelGetFunction(Kernel** function, Kernel* kernel) { return *function = kernel, kSuccess; }
STUB cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, Kernel*, int threads, size_t shared) {
    return shared == 0 ? (*blocks = 2048 / threads, kSuccess) : kInvalid;
}
STUB cuLaunchKernel(Kernel* kernel, unsigned blocks, unsigned gy, unsigned gz, unsigned threads,
                    unsigned by, unsigned bz, unsigned shared, void* stream, Word** arguments,
                    void* extra) {
    if (gy != 1 || gz != 1 || by != 1 || bz != 1 || threads == 0 || shared || extra) return kInvalid;
    std::vector<Word> values;
    for (int i = 0; i < kernel->arguments; ++i) values.push_back(*arguments[i]);
    if (kernel->blocks_at >= 0) {
        if (values[kernel->blocks_at] != blocks) return kInvalid;
        values[kernel->blocks_at] = 1;  // on the CPU there is one
    }
    return enqueue(stream, [=] { return run(*kernel, values); });
}
STUB cuLaunchCooperativeKernel(Kernel* kernel, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
                               unsigned by, unsigned bz, unsigned shared, void* stream,
                               Word** arguments) {
    return cuLaunchKernel(kernel, gx, gy, gz, bx, by, bz, shared, stream, arguments, nullptr);
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
