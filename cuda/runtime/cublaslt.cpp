#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <type_traits>
#include <unordered_map>
#include <vector>

#include "cuda/runtime/blas.h"
#include "cuda/runtime/cublaslt_library.h"
#include "weft/error.h"

namespace weft::cuda::blas {

namespace {

constexpr std::size_t kCacheLimit = 4096;  // plans; beyond it all are made anew
constexpr std::size_t kAlignment = 256;    // the highest that algorithms ask for
constexpr int kCandidates = 8;

// Everything that a descriptor, a layout or the choice of an algorithm depends on.
struct Key {
  std::int64_t m, n, k, batch, ld_a, ld_b, ld_d, batch_stride_a, batch_stride_b, batch_stride_d;
  std::uint64_t workspace;
  std::uint16_t align_a, align_b, align_d, align_bias;  // of the pointers, at most kAlignment; align_bias 0: no bias
  Type in, out;
  Compute compute;
  bool transpose_a, transpose_b, adds;

  bool operator==(const Key&) const = default;
};

struct KeyHash {
  std::size_t operator()(const Key& key) const noexcept {
    std::uint64_t hash = 0;
    const auto mix = [&hash](auto value) {
      hash = (hash ^ static_cast<std::uint64_t>(value)) * 0x9e3779b97f4a7c15u;
      hash ^= hash >> 32;
    };
    for (const std::int64_t size : {key.m, key.n, key.k, key.batch, key.ld_a, key.ld_b, key.ld_d, key.batch_stride_a,
                                    key.batch_stride_b, key.batch_stride_d}) {
      mix(size);
    }
    mix(key.workspace);
    for (const std::uint16_t align : {key.align_a, key.align_b, key.align_d, key.align_bias}) mix(align);
    mix(static_cast<int>(key.in) << 8 | static_cast<int>(key.out) << 4 | static_cast<int>(key.compute));
    mix(key.transpose_a << 2 | key.transpose_b << 1 | int{key.adds});
    return static_cast<std::size_t>(hash);
  }
};

std::uint16_t alignment(const void* address) {
  const auto bits = reinterpret_cast<std::uintptr_t>(address);
  return static_cast<std::uint16_t>(std::min<std::uintptr_t>(bits & (~bits + 1), kAlignment));
}

Key key_of(const Product& p, std::size_t workspace) {
  return {.m = p.m,
          .n = p.n,
          .k = p.k,
          .batch = p.batch,
          .ld_a = p.ld_a,
          .ld_b = p.ld_b,
          .ld_d = p.ld_d,
          .batch_stride_a = p.batch_stride_a,
          .batch_stride_b = p.batch_stride_b,
          .batch_stride_d = p.batch_stride_d,
          .workspace = workspace,
          .align_a = alignment(p.a),
          .align_b = alignment(p.b),
          .align_d = alignment(p.d),
          .align_bias = p.bias == nullptr ? std::uint16_t{0} : alignment(p.bias),
          .in = p.in,
          .out = p.out,
          .compute = p.compute,
          .transpose_a = p.transpose_a,
          .transpose_b = p.transpose_b,
          .adds = p.beta != 0};
}

const char* name(Type type) {
  switch (type) {
    case Type::f32:
      return "f32";
    case Type::f64:
      return "f64";
    case Type::bf16:
      return "bf16";
  }
  return "";
}

std::string describe(const Product& p) {
  std::string text = std::string(name(p.in)) + (p.compute == Compute::tf32 ? " (tf32)" : "");
  text += " product " + std::to_string(p.m) + " x " + std::to_string(p.n) + " x " + std::to_string(p.k);
  if (p.batch != 1) text += ", batch " + std::to_string(p.batch);
  text += std::string(", A") + (p.transpose_a ? "^T" : "") + " ld " + std::to_string(p.ld_a);
  text += std::string(", B") + (p.transpose_b ? "^T" : "") + " ld " + std::to_string(p.ld_b);
  text += ", D " + std::string(name(p.out)) + " ld " + std::to_string(p.ld_d);
  if (p.bias != nullptr) text += ", bias";
  return text;
}

void check(cublasStatus_t status, const char* call, const Product& p) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw DeviceError(std::string(call) + ": " + library().cublasLtGetStatusString(status) + " (" +
                    library().cublasLtGetStatusName(status) + ") in the " + describe(p));
}

cudaDataType_t data_type(Type type) {
  switch (type) {
    case Type::f32:
      return CUDA_R_32F;
    case Type::f64:
      return CUDA_R_64F;
    case Type::bf16:
      return CUDA_R_16BF;
  }
  throw ValueError("cuda: a matrix of unknown type");
}

cublasComputeType_t compute_type(Compute compute) {
  switch (compute) {
    case Compute::f32:
      return CUBLAS_COMPUTE_32F;
    case Compute::tf32:
      return CUBLAS_COMPUTE_32F_FAST_TF32;
    case Compute::f64:
      return CUBLAS_COMPUTE_64F;
  }
  throw ValueError("cuda: a product of unknown precision");
}

template <class Object, auto Destroy>
struct Destroyer {
  void operator()(std::remove_pointer_t<Object>* object) const noexcept {
    static_cast<void>((library().*Destroy)(object));
  }
};
template <class Object, auto Destroy>
using Owned = std::unique_ptr<std::remove_pointer_t<Object>, Destroyer<Object, Destroy>>;
using Description = Owned<cublasLtMatmulDesc_t, &Library::cublasLtMatmulDescDestroy>;
using Layout = Owned<cublasLtMatrixLayout_t, &Library::cublasLtMatrixLayoutDestroy>;
using Preference = Owned<cublasLtMatmulPreference_t, &Library::cublasLtMatmulPreferenceDestroy>;

struct Plan {
  Description description;
  Layout a, b, d;
  std::vector<cublasLtMatmulAlgo_t> algorithms;  // the best first
};

template <class T>
void set(const Description& description, cublasLtMatmulDescAttributes_t attribute, const T& value, const Product& p) {
  check(library().cublasLtMatmulDescSetAttribute(description.get(), attribute, &value, sizeof value),
        "cublasLtMatmulDescSetAttribute", p);
}

template <class T>
void set(const Preference& preference, cublasLtMatmulPreferenceAttributes_t attribute, const T& value,
         const Product& p) {
  check(library().cublasLtMatmulPreferenceSetAttribute(preference.get(), attribute, &value, sizeof value),
        "cublasLtMatmulPreferenceSetAttribute", p);
}

Layout make_layout(Type type, std::int64_t rows, std::int64_t columns, std::int64_t ld, std::int64_t batch_stride,
                   const Product& p) {
  cublasLtMatrixLayout_t made = nullptr;
  check(library().cublasLtMatrixLayoutCreate(&made, data_type(type), static_cast<std::uint64_t>(rows),
                                             static_cast<std::uint64_t>(columns), ld),
        "cublasLtMatrixLayoutCreate", p);
  Layout layout(made);
  if (p.batch != 1) {
    const auto batch = static_cast<std::int32_t>(p.batch);
    check(library().cublasLtMatrixLayoutSetAttribute(made, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &batch, sizeof batch),
          "cublasLtMatrixLayoutSetAttribute", p);
    check(library().cublasLtMatrixLayoutSetAttribute(made, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &batch_stride,
                                                     sizeof batch_stride),
          "cublasLtMatrixLayoutSetAttribute", p);
  }
  return layout;
}

Description make_description(const Product& p) {
  cublasLtMatmulDesc_t made = nullptr;
  const cudaDataType_t scale = p.compute == Compute::f64 ? CUDA_R_64F : CUDA_R_32F;
  check(library().cublasLtMatmulDescCreate(&made, compute_type(p.compute), scale), "cublasLtMatmulDescCreate", p);
  Description description(made);
  set(description, CUBLASLT_MATMUL_DESC_TRANSA, p.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N, p);
  set(description, CUBLASLT_MATMUL_DESC_TRANSB, p.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N, p);
  if (p.bias != nullptr) {
    set(description, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS, p);
    set(description, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, static_cast<std::int32_t>(data_type(p.out)), p);
    set(description, CUBLASLT_MATMUL_DESC_BIAS_POINTER, p.bias, p);
  }
  return description;
}

// Sums split over k are added by a pass of their own in a fixed order, never in place by whoever comes first; and in
// the compute type, since partial sums in bf16 would cost digits.
std::uint32_t reduction_schemes(const Product& p) {
  std::uint32_t schemes = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
  if (p.out != Type::bf16) schemes |= CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE;
  return schemes;  // CUBLASLT_REDUCTION_SCHEME_NONE is 0
}

Preference make_preference(const Product& p, const Key& key) {
  cublasLtMatmulPreference_t made = nullptr;
  check(library().cublasLtMatmulPreferenceCreate(&made), "cublasLtMatmulPreferenceCreate", p);
  Preference preference(made);
  set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, key.workspace, p);
  set(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, reduction_schemes(p), p);
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, std::uint32_t{key.align_a}, p);
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, std::uint32_t{key.align_b}, p);
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, std::uint32_t{key.align_d}, p);
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, std::uint32_t{key.align_d}, p);
  return preference;
}

enum class Rounding : std::uint8_t { none, unknown, operands };

// An environment variable of cuBLAS can turn f32 products into TF32 or bf16 ones: those are not taken, and one that
// does not say how it computes only where no other is left.
Rounding rounding_of(const cublasLtMatmulAlgo_t& algorithm, const Product& p) {
  if (p.compute != Compute::f32 || p.in != Type::f32) return Rounding::none;
  std::uint64_t flags = 0;
  std::size_t written = 0;
  if (library().cublasLtMatmulAlgoCapGetAttribute(&algorithm, CUBLASLT_ALGO_CAP_NUMERICAL_IMPL_FLAGS, &flags,
                                                  sizeof flags, &written) != CUBLAS_STATUS_SUCCESS) {
    return Rounding::unknown;
  }
  constexpr std::uint64_t kRounded = CUBLASLT_NUMERICAL_IMPL_FLAGS_INPUT_TF32 |
                                     CUBLASLT_NUMERICAL_IMPL_FLAGS_INPUT_16BF | CUBLASLT_NUMERICAL_IMPL_FLAGS_INPUT_16F;
  return (flags & kRounded) == 0 ? Rounding::none : Rounding::operands;
}

Plan make_plan(cublasLtHandle_t handle, const Product& p, const Key& key) {
  Plan plan;
  plan.description = make_description(p);
  plan.a = make_layout(p.in, p.transpose_a ? p.k : p.m, p.transpose_a ? p.m : p.k, p.ld_a, p.batch_stride_a, p);
  plan.b = make_layout(p.in, p.transpose_b ? p.n : p.k, p.transpose_b ? p.k : p.n, p.ld_b, p.batch_stride_b, p);
  plan.d = make_layout(p.out, p.m, p.n, p.ld_d, p.batch_stride_d, p);
  const Preference preference = make_preference(p, key);

  std::array<cublasLtMatmulHeuristicResult_t, kCandidates> candidates{};
  int found = 0, left_out = 0;
  std::vector<cublasLtMatmulAlgo_t> unknown;
  check(
      library().cublasLtMatmulAlgoGetHeuristic(handle, plan.description.get(), plan.a.get(), plan.b.get(), plan.d.get(),
                                               plan.d.get(), preference.get(), kCandidates, candidates.data(), &found),
      "cublasLtMatmulAlgoGetHeuristic", p);
  for (int i = 0; i < found; ++i) {
    const cublasLtMatmulHeuristicResult_t& candidate = candidates[static_cast<std::size_t>(i)];
    if (candidate.state != CUBLAS_STATUS_SUCCESS) continue;
    switch (rounding_of(candidate.algo, p)) {
      case Rounding::none:
        plan.algorithms.push_back(candidate.algo);
        break;
      case Rounding::unknown:
        unknown.push_back(candidate.algo);
        break;
      case Rounding::operands:
        ++left_out;
        break;
    }
  }
  plan.algorithms.insert(plan.algorithms.end(), unknown.begin(), unknown.end());
  if (!plan.algorithms.empty()) return plan;
  throw DeviceError("cublasLtMatmulAlgoGetHeuristic: no algorithm with a workspace of " +
                    std::to_string(key.workspace) + " bytes for the " + describe(p) +
                    (left_out == 0 ? ""
                                   : "; " + std::to_string(left_out) +
                                         " that round f32 operands were left out (NVIDIA_TF32_OVERRIDE?)"));
}

}  // namespace

class Handle {
 public:
  Handle() = default;
  ~Handle() {
    plans_.clear();
    if (handle_ != nullptr) static_cast<void>(library().cublasLtDestroy(handle_));
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;

  void multiply(const Product& p, void* workspace, std::size_t workspace_bytes, runtime::Stream stream) {
    if (p.batch > INT32_MAX) {
      throw ValueError("cuda: a batch of " + std::to_string(p.batch) + " matrix products; cuBLASLt takes " +
                       std::to_string(INT32_MAX));
    }
    // Not in the constructor: the library takes memory on the device when it starts.
    if (handle_ == nullptr) check(library().cublasLtCreate(&handle_), "cublasLtCreate", p);
    if (workspace == nullptr) workspace_bytes = 0;
    Plan& plan = find(p, workspace_bytes);
    if (p.bias != nullptr) set(plan.description, CUBLASLT_MATMUL_DESC_BIAS_POINTER, p.bias, p);
    const auto alpha32 = static_cast<float>(p.alpha), beta32 = static_cast<float>(p.beta);
    const bool wide = p.compute == Compute::f64;
    const void* const alpha = wide ? static_cast<const void*>(&p.alpha) : &alpha32;
    const void* const beta = wide ? static_cast<const void*>(&p.beta) : &beta32;
    for (;;) {
      const cublasStatus_t status = library().cublasLtMatmul(
          handle_, plan.description.get(), alpha, p.a, plan.a.get(), p.b, plan.b.get(), beta, p.d, plan.d.get(), p.d,
          plan.d.get(), &plan.algorithms.front(), workspace, workspace_bytes, stream);
      // What the heuristic proposes can be refused after all, before anything is enqueued: the next one then, for good.
      const bool refused = status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_INVALID_VALUE;
      if (!refused || plan.algorithms.size() == 1) return check(status, "cublasLtMatmul", p);
      plan.algorithms.erase(plan.algorithms.begin());
    }
  }

 private:
  Plan& find(const Product& p, std::size_t workspace) {
    const Key key = key_of(p, workspace);
    const auto found = plans_.find(key);
    if (found != plans_.end()) return found->second;
    Plan plan = make_plan(handle_, p, key);
    if (plans_.size() >= kCacheLimit) plans_.clear();
    return plans_.emplace(key, std::move(plan)).first->second;
  }

  cublasLtHandle_t handle_ = nullptr;
  std::unordered_map<Key, Plan, KeyHash> plans_;
};

std::string description() {
  try {
    const std::size_t version = library().cublasLtGetVersion();
    return "cuBLASLt " + std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
           std::to_string(version % 100);
  } catch (const DeviceError& error) {
    return error.what();
  }
}

Handle* create_handle() { return new Handle; }
void destroy_handle(Handle* handle) noexcept { delete handle; }

void multiply(Handle* handle, const Product& product, void* workspace, std::size_t workspace_bytes,
              runtime::Stream stream) {
  handle->multiply(product, workspace, workspace_bytes, stream);
}

}  // namespace weft::cuda::blas
