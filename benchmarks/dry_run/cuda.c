/* Stands for CUDA, cuDNN, cuBLAS and the rest where there is none: every call succeeds, and nothing is computed.
 *
 * Device memory is host memory; streams, events and libraries' handles are there to be passed on. Written out is what
 * must give something back; stand_ins.py lets all other functions that MindSpore's plugin imports return 0. Arguments
 * behind the last one that matters are left out of the signatures: by x86-64's calling convention they lie in registers
 * or on the caller's stack, and nobody looks at them.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

typedef size_t Size;
typedef void *Pointer;

#define GIB (1ul << 30)

/* --- the card --- */

int cudaGetDeviceCount(int *count) { *count = 1; return 0; }

int cudaSetDevice(int device) { return device ? 101 : 0; }

/* struct cudaDeviceProp of CUDA 11, by offset: the numbers of a card of compute capability 8.6 */
int cudaGetDeviceProperties(char *properties, int device) {
  memset(properties, 0, 728);
  strcpy(properties, "dry run");
  *(Size *)(properties + 288) = 64 * GIB;     /* totalGlobalMem */
  *(Size *)(properties + 296) = 49152;        /* sharedMemPerBlock */
  *(int *)(properties + 304) = 65536;         /* regsPerBlock */
  *(int *)(properties + 308) = 32;            /* warpSize */
  *(Size *)(properties + 312) = 2147483647;   /* memPitch */
  *(int *)(properties + 320) = 1024;          /* maxThreadsPerBlock */
  int sides[6] = {1024, 1024, 64, 2147483647, 65535, 65535};
  memcpy(properties + 324, sides, sizeof sides); /* maxThreadsDim, maxGridSize */
  *(int *)(properties + 348) = 1410000;       /* clockRate */
  *(Size *)(properties + 352) = 65536;        /* totalConstMem */
  *(int *)(properties + 360) = 8;             /* major */
  *(int *)(properties + 364) = 6;             /* minor */
  *(Size *)(properties + 368) = 512;          /* textureAlignment */
  *(Size *)(properties + 376) = 32;           /* texturePitchAlignment */
  *(int *)(properties + 388) = 84;            /* multiProcessorCount */
  return 0;
}

int cuDeviceGetAttribute(int *value, int attribute, int device) {
  switch (attribute) {
    case 1: *value = 1024; break; /* threads of a block */
    case 16: *value = 84; break;  /* multiprocessors */
    case 75: *value = 8; break;   /* compute capability, major */
    case 76: *value = 6; break;   /* minor */
    default: *value = 1;
  }
  return 0;
}

/* --- memory: mapped, and taken from the host only where something is written --- */

static int allocate(Pointer *memory, Size bytes) {
  int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  *memory = mmap(0, bytes + !bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
  return *memory == MAP_FAILED ? 2 : 0;
}

int cudaMalloc(Pointer *memory, Size bytes) { return allocate(memory, bytes); }
int cudaHostAlloc(Pointer *memory, Size bytes) { return allocate(memory, bytes); }
int cudaMemGetInfo(Size *free, Size *total) { *free = 60 * GIB; *total = 64 * GIB; return 0; }

/* A single byte that comes back (kind 2) is a condition that nothing has computed: it is true, so that loops end. */
static int copy(Pointer to, Pointer from, Size bytes, int kind) {
  memmove(to, from, bytes);
  if (bytes == 1 && kind == 2) *(char *)to = 1;
  return 0;
}

int cudaMemcpy(Pointer to, Pointer from, Size bytes, int kind) { return copy(to, from, bytes, kind); }
int cudaMemcpyAsync(Pointer to, Pointer from, Size bytes, int kind) { return copy(to, from, bytes, kind); }
int cudaMemset(Pointer memory, int value, Size bytes) { memset(memory, value, bytes); return 0; }
int cudaMemsetAsync(Pointer memory, int value, Size bytes) { memset(memory, value, bytes); return 0; }

/* --- handles --- */

static int create(Pointer *handle) { *handle = calloc(1, 256); return 0; }

#define HANDLE(function) int function(Pointer *handle) { return create(handle); }

HANDLE(cudaStreamCreate)
HANDLE(cudaStreamCreateWithFlags)
HANDLE(cudaStreamCreateWithPriority)
HANDLE(cudaEventCreate)
HANDLE(cudaEventCreateWithFlags)
HANDLE(cuModuleLoadDataEx)
HANDLE(cuModuleGetFunction)
HANDLE(cublasCreate_v2)
HANDLE(curandCreateGenerator)
HANDLE(cusolverDnCreate)
HANDLE(cusparseCreate)
HANDLE(cudnnCreate)
HANDLE(cudnnCreateActivationDescriptor)
HANDLE(cudnnCreateConvolutionDescriptor)
HANDLE(cudnnCreateDropoutDescriptor)
HANDLE(cudnnCreateFilterDescriptor)
HANDLE(cudnnCreateLRNDescriptor)
HANDLE(cudnnCreateOpTensorDescriptor)
HANDLE(cudnnCreatePoolingDescriptor)
HANDLE(cudnnCreateRNNDescriptor)
HANDLE(cudnnCreateReduceTensorDescriptor)
HANDLE(cudnnCreateTensorDescriptor)

int cufftCreate(int *handle) { *handle = 1; return 0; }

/* --- single answers --- */

int cudaEventElapsedTime(float *milliseconds) { *milliseconds = 0.001f; return 0; }
int cublasGetMathMode(Pointer handle, int *mode) { *mode = 0; return 0; }
int nvrtcVersion(int *major, int *minor) { *major = 11; *minor = 6; return 0; }
int cuGetErrorName(int error, const char **name) { *name = "dry run"; return 0; }
const char *cudaGetErrorName(int error) { return error ? "dryRunError" : "cudaSuccess"; }
const char *cudaGetErrorString(int error) { return error ? "dry run" : "no error"; }
const char *cudnnGetErrorString(int error) { return error ? "dry run" : "CUDNN_STATUS_SUCCESS"; }

/* --- sizes in bytes: those of nothing --- */

typedef Pointer P;

#define SIZE(function, ...) int function(__VA_ARGS__, Size *bytes) { *bytes = 256; return 0; }

SIZE(cudnnGetTensorSizeInBytes, P a)
SIZE(cudnnGetFilterSizeInBytes, P a)
SIZE(cudnnDropoutGetStatesSize, P a)
SIZE(cudnnGetReductionIndicesSize, P a, P b, P c, P d)
SIZE(cudnnGetReductionWorkspaceSize, P a, P b, P c, P d)
SIZE(cudnnGetConvolutionForwardWorkspaceSize, P a, P b, P c, P d, P e, int f)
SIZE(cudnnGetConvolutionBackwardDataWorkspaceSize, P a, P b, P c, P d, P e, int f)
SIZE(cudnnGetConvolutionBackwardFilterWorkspaceSize, P a, P b, P c, P d, P e, int f)
SIZE(cudnnGetBatchNormalizationForwardTrainingExWorkspaceSize, P a, int b, int c, P d, P e, P f, P g, P h)
SIZE(cudnnGetBatchNormalizationBackwardExWorkspaceSize, P a, int b, int c, P d, P e, P f, P g, P h, P i, P j)
SIZE(cudnnGetBatchNormalizationTrainingExReserveSpaceSize, P a, int b, int c, P d, P e)
SIZE(cudnnGetRNNParamsSize, P a, P b, P c)
SIZE(cudnnGetRNNWorkspaceSize, P a, P b, int c, P d)
SIZE(cudnnGetRNNTrainingReserveSize, P a, P b, int c, P d)

/* --- algorithms of convolutions: as many as are asked for, all of them free --- */

struct Performance { int algorithm, status; float time; Size memory; int determinism, math, reserved[3]; };

#define ALGORITHMS(function)                                                                        \
  int function(P a, P b, P c, P d, P e, int wanted, int *count, struct Performance *performances) { \
    memset(performances, 0, sizeof *performances * wanted);                                         \
    for (int i = 0; i < wanted; i++) performances[i].algorithm = i;                                 \
    *count = wanted;                                                                                \
    return 0;                                                                                       \
  }

ALGORITHMS(cudnnGetConvolutionForwardAlgorithm_v7)
ALGORITHMS(cudnnGetConvolutionBackwardDataAlgorithm_v7)
ALGORITHMS(cudnnGetConvolutionBackwardFilterAlgorithm_v7)
ALGORITHMS(cudnnFindConvolutionForwardAlgorithm)
ALGORITHMS(cudnnFindConvolutionBackwardDataAlgorithm)
ALGORITHMS(cudnnFindConvolutionBackwardFilterAlgorithm)
