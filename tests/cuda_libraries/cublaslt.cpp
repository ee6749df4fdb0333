// The functions of cuBLASLt that cuda/runtime/cublaslt.cpp calls, as a library of their own that it opens. Each
// argument and attribute is checked: its size, its value, and that what it describes is alive. A product is computed by
// its definition in tests/cuda_on_cpu/blas.cpp, whose namespace weft::cuda::blas is weft::cuda::twin_blas here, from
// what the descriptors say alone.
#include <cublasLt.h>

#include <cstring>
#include <optional>
#include <set>
#include <string>

#include "cuda/runtime/blas.h"
#include "faults.h"
#include "weft/error.h"

namespace twin = weft::cuda::twin_blas;
using weft::cuda_libraries::Algorithm;
using weft::cuda_libraries::algorithms;
using weft::cuda_libraries::faults;
using weft::cuda_libraries::live_objects;

namespace {

constexpr cublasStatus_t kOk = CUBLAS_STATUS_SUCCESS, kInvalid = CUBLAS_STATUS_INVALID_VALUE;

struct Description : cublasLtMatmulDescOpaque_t {
  static constexpr const char* kKind = "description";
  cublasComputeType_t compute;
  cudaDataType_t scale;
  std::int32_t transpose_a = CUBLAS_OP_N, transpose_b = CUBLAS_OP_N, bias_type = -1;
  std::uint32_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  const void* bias = nullptr;
};
struct Layout : cublasLtMatrixLayoutOpaque_t {
  static constexpr const char* kKind = "layout";
  cudaDataType_t type;
  std::int64_t rows, columns, ld, batch_stride = 0;
  std::int32_t batch = 1;
};
struct Preference : cublasLtMatmulPreferenceOpaque_t {
  static constexpr const char* kKind = "preference";
  std::uint64_t workspace = 0;
  std::uint32_t schemes = CUBLASLT_REDUCTION_SCHEME_MASK, align_a = 256, align_b = 256, align_c = 256, align_d = 256;
};
struct Handle {
  static constexpr const char* kKind = "handle";
  twin::Handle* products;
};
// What an algorithm says of itself, in the words that are opaque to callers.
struct Chosen {
  std::uint64_t index, workspace, align_a, align_b, align_d;
};
static_assert(sizeof(Chosen) <= sizeof(cublasLtMatmulAlgo_t));

std::set<const void*>& live() {
  static auto* const objects = new std::set<const void*>;
  return *objects;
}
template <class T, class Opaque>
void publish(Opaque* out, T* object) {
  live().insert(object);
  live_objects().add(T::kKind, 1);
  *out = reinterpret_cast<Opaque>(object);
}
/// Null unless it is alive.
template <class T, class Opaque>
T* find(Opaque object) {
  return live().contains(object) ? static_cast<T*>(object) : nullptr;
}
template <class T, class Opaque>
cublasStatus_t destroy(Opaque object) {
  T* const found = find<T>(object);
  if (found == nullptr) return kInvalid;
  live().erase(found);
  live_objects().add(T::kKind, -1);
  delete found;
  return kOk;
}

template <class F>
cublasStatus_t run(const char* function, const F& f) {
  const int failed = faults().enter(function, CUBLAS_STATUS_EXECUTION_FAILED);
  return failed != 0 ? static_cast<cublasStatus_t>(failed) : f();
}

template <class T>
cublasStatus_t read(const void* buffer, std::size_t bytes, T& value, bool (*valid)(T)) {
  if (buffer == nullptr || bytes != sizeof value) return kInvalid;
  T found;
  std::memcpy(&found, buffer, bytes);
  if (!valid(found)) return kInvalid;
  value = found;
  return kOk;
}

bool is_operation(std::int32_t value) { return value == CUBLAS_OP_N || value == CUBLAS_OP_T; }
bool is_alignment(std::uint32_t value) { return value >= 1 && value <= 256 && (value & (value - 1)) == 0; }
bool is_type(std::int32_t value) { return value == CUDA_R_32F || value == CUDA_R_64F || value == CUDA_R_16BF; }

std::optional<twin::Type> type_of(std::int32_t type) {
  if (type == CUDA_R_32F) return twin::Type::f32;
  if (type == CUDA_R_64F) return twin::Type::f64;
  return type == CUDA_R_16BF ? std::optional(twin::Type::bf16) : std::nullopt;
}

bool fits(const Layout& matrix, std::int32_t operation, std::int64_t rows, std::int64_t columns) {
  return operation == CUBLAS_OP_T ? matrix.rows == columns && matrix.columns == rows
                                  : matrix.rows == rows && matrix.columns == columns;
}

/// The product that the descriptors describe; none where they contradict each other.
std::optional<twin::Product> described(const Description* description, const Layout* a, const Layout* b,
                                       const Layout* c, const Layout* d) {
  if (description == nullptr || a == nullptr || b == nullptr || c != d || d == nullptr) return {};
  twin::Product p;
  p.m = d->rows;
  p.n = d->columns;
  p.k = description->transpose_a == CUBLAS_OP_T ? a->rows : a->columns;
  p.batch = d->batch;
  if (a->type != b->type || a->batch != p.batch || b->batch != p.batch) return {};
  if (!fits(*a, description->transpose_a, p.m, p.k) || !fits(*b, description->transpose_b, p.k, p.n)) return {};
  p.in = *type_of(a->type);
  p.out = *type_of(d->type);
  p.compute = description->compute == CUBLAS_COMPUTE_64F             ? twin::Compute::f64
              : description->compute == CUBLAS_COMPUTE_32F_FAST_TF32 ? twin::Compute::tf32
                                                                     : twin::Compute::f32;
  p.transpose_a = description->transpose_a == CUBLAS_OP_T;
  p.transpose_b = description->transpose_b == CUBLAS_OP_T;
  p.ld_a = a->ld;
  p.ld_b = b->ld;
  p.ld_d = d->ld;
  p.batch_stride_a = a->batch_stride;
  p.batch_stride_b = b->batch_stride;
  p.batch_stride_d = d->batch_stride;
  if (description->epilogue == CUBLASLT_EPILOGUE_BIAS) {
    if (description->bias == nullptr || description->bias_type != d->type) return {};
    p.bias = description->bias;
  }
  return p;
}

bool aligned(const void* address, std::uint64_t alignment) {
  return reinterpret_cast<std::uintptr_t>(address) % alignment == 0;
}

}  // namespace

extern "C" {

std::size_t cublasLtGetVersion() { return CUBLAS_VERSION; }
const char* cublasLtGetStatusName(cublasStatus_t status) {
  return status == CUBLAS_STATUS_EXECUTION_FAILED ? "CUBLAS_STATUS_EXECUTION_FAILED"
         : status == kInvalid                     ? "CUBLAS_STATUS_INVALID_VALUE"
                                                  : "another CUBLAS_STATUS";
}
const char* cublasLtGetStatusString(cublasStatus_t status) {
  return status == CUBLAS_STATUS_EXECUTION_FAILED ? "the function failed to launch on the GPU" : "an error";
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  return run(__func__, [&] {
    publish(handle, new Handle{twin::create_handle()});
    return kOk;
  });
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  return run(__func__, [&] {
    auto* const found = find<Handle>(static_cast<void*>(handle));
    if (found != nullptr) twin::destroy_handle(found->products);
    return destroy<Handle>(static_cast<void*>(handle));
  });
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* out, cublasComputeType_t compute, cudaDataType_t scale) {
  return run(__func__, [&] {
    const bool f32 = compute == CUBLAS_COMPUTE_32F || compute == CUBLAS_COMPUTE_32F_FAST_TF32;
    const bool f64 = compute == CUBLAS_COMPUTE_64F;
    if (!(f32 && scale == CUDA_R_32F) && !(f64 && scale == CUDA_R_64F)) return kInvalid;
    auto* const made = new Description{};
    made->compute = compute;
    made->scale = scale;
    publish(out, made);
    return kOk;
  });
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t description) {
  return run(__func__, [&] { return destroy<Description>(description); });
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t description,
                                              cublasLtMatmulDescAttributes_t attribute, const void* buffer,
                                              std::size_t bytes) {
  return run(__func__, [&] {
    auto* const d = find<Description>(description);
    if (d == nullptr) return kInvalid;
    switch (attribute) {
      case CUBLASLT_MATMUL_DESC_TRANSA:
        return read(buffer, bytes, d->transpose_a, is_operation);
      case CUBLASLT_MATMUL_DESC_TRANSB:
        return read(buffer, bytes, d->transpose_b, is_operation);
      case CUBLASLT_MATMUL_DESC_EPILOGUE:
        return read<std::uint32_t>(buffer, bytes, d->epilogue, [](std::uint32_t value) {
          return value == CUBLASLT_EPILOGUE_DEFAULT || value == CUBLASLT_EPILOGUE_BIAS;
        });
      case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE:
        return read(buffer, bytes, d->bias_type, is_type);
      case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
        return read<const void*>(buffer, bytes, d->bias, [](const void* value) { return value != nullptr; });
      default:
        return kInvalid;
    }
  });
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* out, cudaDataType type, std::uint64_t rows,
                                          std::uint64_t columns, std::int64_t ld) {
  return run(__func__, [&] {
    if (!is_type(type) || rows == 0 || columns == 0 || ld < static_cast<std::int64_t>(rows)) return kInvalid;
    auto* const made = new Layout{};
    made->type = type;
    made->rows = static_cast<std::int64_t>(rows);
    made->columns = static_cast<std::int64_t>(columns);
    made->ld = ld;
    publish(out, made);
    return kOk;
  });
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  return run(__func__, [&] { return destroy<Layout>(layout); });
}
cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t layout,
                                                cublasLtMatrixLayoutAttribute_t attribute, const void* buffer,
                                                std::size_t bytes) {
  return run(__func__, [&] {
    auto* const l = find<Layout>(layout);
    if (l == nullptr) return kInvalid;
    if (attribute == CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT) {
      return read<std::int32_t>(buffer, bytes, l->batch, [](std::int32_t value) { return value >= 1; });
    }
    if (attribute != CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET) return kInvalid;
    return read<std::int64_t>(buffer, bytes, l->batch_stride, [](std::int64_t value) { return value >= 0; });
  });
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* out) {
  return run(__func__, [&] {
    publish(out, new Preference{});
    return kOk;
  });
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  return run(__func__, [&] { return destroy<Preference>(preference); });
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute, const void* buffer,
                                                    std::size_t bytes) {
  return run(__func__, [&] {
    auto* const p = find<Preference>(preference);
    if (p == nullptr) return kInvalid;
    switch (attribute) {
      case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
        return read<std::uint64_t>(buffer, bytes, p->workspace, [](std::uint64_t) { return true; });
      case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK:  // the one in place adds in whatever order blocks come
        return read<std::uint32_t>(buffer, bytes, p->schemes, [](std::uint32_t value) {
          return (value & ~std::uint32_t{CUBLASLT_REDUCTION_SCHEME_MASK}) == 0 &&
                 (value & CUBLASLT_REDUCTION_SCHEME_INPLACE) == 0;
        });
      case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
        return read(buffer, bytes, p->align_a, is_alignment);
      case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
        return read(buffer, bytes, p->align_b, is_alignment);
      case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
        return read(buffer, bytes, p->align_c, is_alignment);
      case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
        return read(buffer, bytes, p->align_d, is_alignment);
      default:
        return kInvalid;
    }
  });
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t description,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int wanted,
                                              cublasLtMatmulHeuristicResult_t results[], int* found) {
  return run(__func__, [&] {
    *found = 0;
    const auto* const p = find<Preference>(preference);
    const auto product =
        described(find<Description>(description), find<Layout>(a), find<Layout>(b), find<Layout>(c), find<Layout>(d));
    if (find<Handle>(static_cast<void*>(handle)) == nullptr || p == nullptr || !product || wanted < 1) return kInvalid;
    // Partial sums of the output's type are at least f32, and no scheme adds in an order of chance.
    if ((p->schemes & CUBLASLT_REDUCTION_SCHEME_INPLACE) != 0) return kInvalid;
    if (product->out == twin::Type::bf16 && (p->schemes & CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE) != 0) return kInvalid;
    if (p->align_c != p->align_d) return kInvalid;
    for (const Algorithm& algorithm : algorithms()) {
      if (*found == wanted) break;
      const Chosen chosen{static_cast<std::uint64_t>(*found), p->workspace, p->align_a, p->align_b, p->align_d};
      cublasLtMatmulHeuristicResult_t& result = results[(*found)++];
      result = {};
      std::memcpy(&result.algo, &chosen, sizeof chosen);
      result.workspaceSize = p->workspace;
      result.state = algorithm.usable ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
    }
    return kOk;
  });
}
cublasStatus_t cublasLtMatmulAlgoCapGetAttribute(const cublasLtMatmulAlgo_t* algorithm,
                                                 cublasLtMatmulAlgoCapAttributes_t attribute, void* buffer,
                                                 std::size_t bytes, std::size_t* written) {
  return run(__func__, [&] {
    Chosen chosen;
    std::memcpy(&chosen, algorithm, sizeof chosen);
    const Algorithm& found = algorithms().at(chosen.index);
    if (attribute != CUBLASLT_ALGO_CAP_NUMERICAL_IMPL_FLAGS || bytes != sizeof found.flags) return kInvalid;
    if (!found.tells) return CUBLAS_STATUS_NOT_SUPPORTED;
    std::memcpy(buffer, &found.flags, bytes);
    *written = bytes;
    return kOk;
  });
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t description, const void* alpha,
                              const void* a, cublasLtMatrixLayout_t a_layout, const void* b,
                              cublasLtMatrixLayout_t b_layout, const void* beta, const void* c,
                              cublasLtMatrixLayout_t c_layout, void* d, cublasLtMatrixLayout_t d_layout,
                              const cublasLtMatmulAlgo_t* algorithm, void* workspace, std::size_t workspace_bytes,
                              cudaStream_t stream) {
  return run(__func__, [&] {
    const auto* const found = find<Description>(description);
    auto* const own = find<Handle>(static_cast<void*>(handle));
    auto product = described(found, find<Layout>(a_layout), find<Layout>(b_layout), find<Layout>(c_layout),
                             find<Layout>(d_layout));
    if (own == nullptr || !product || algorithm == nullptr || c != d) return kInvalid;
    Chosen chosen;
    std::memcpy(&chosen, algorithm, sizeof chosen);
    if (algorithms().at(chosen.index).refused) return CUBLAS_STATUS_NOT_SUPPORTED;
    if (workspace_bytes < chosen.workspace || (workspace == nullptr && workspace_bytes != 0)) return kInvalid;
    if (!aligned(a, chosen.align_a) || !aligned(b, chosen.align_b) || !aligned(d, chosen.align_d)) return kInvalid;
    const auto scale = [&](const void* factor) {
      if (found->scale == CUDA_R_64F) return *static_cast<const double*>(factor);
      return static_cast<double>(*static_cast<const float*>(factor));
    };
    product->alpha = scale(alpha);
    product->beta = scale(beta);
    product->a = a;
    product->b = b;
    product->d = d;
    try {
      twin::multiply(own->products, *product, workspace, workspace_bytes, stream);
      return kOk;
    } catch (const weft::DeviceError&) {
      return kInvalid;
    }
  });
}

}  // extern "C"
