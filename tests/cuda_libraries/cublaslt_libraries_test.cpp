// cuda/runtime/cublaslt.cpp itself, on a stand-in of cuBLASLt: products of every kind against plain loops, what it
// tells the library, what it does with the algorithms that it is offered, and what it reports of each call that fails.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cstdlib>
#include <cstring>
#include <iostream>
#include <random>

#include "core/device/convert.h"
#include "cuda/runtime/blas.h"
#include "cuda/runtime/cublaslt_library.h"
#include "faults.h"
#include "weft/dtype.h"
#include "weft/error.h"

namespace weft::cuda_libraries {
namespace {

namespace blas = cuda::blas;
namespace runtime = cuda::runtime;
using blas::Compute;
using blas::Type;

std::size_t size_of(Type type) { return type == Type::f64 ? 8 : type == Type::f32 ? 4 : 2; }

double load(const std::vector<unsigned char>& bytes, Type type, std::int64_t i) {
  const unsigned char* const at = bytes.data() + static_cast<std::size_t>(i) * size_of(type);
  if (type == Type::f64) return *reinterpret_cast<const double*>(at);
  if (type == Type::f32) return *reinterpret_cast<const float*>(at);
  return scalar::convert<double>(*reinterpret_cast<const scalar::Bfloat*>(at));
}
void store(std::vector<unsigned char>& bytes, Type type, std::int64_t i, double value) {
  unsigned char* const at = bytes.data() + static_cast<std::size_t>(i) * size_of(type);
  if (type == Type::f64) {
    *reinterpret_cast<double*>(at) = value;
  } else if (type == Type::f32) {
    *reinterpret_cast<float*>(at) = static_cast<float>(value);
  } else {
    *reinterpret_cast<scalar::Bfloat*>(at) = scalar::to_bfloat(static_cast<float>(value));
  }
}

/// Numbers in page-locked memory and on the device.
class Matrix {
 public:
  Matrix(Type type, std::int64_t count, std::mt19937& random)
      : type_(type), values(static_cast<std::size_t>(count) * size_of(type)) {
    for (std::int64_t i = 0; i < count; ++i)
      store(values, type, i, static_cast<double>(static_cast<int>(random() % 7)) - 3);
    device = runtime::allocate(values.size(), nullptr);
    void* const host = runtime::allocate_host(values.size());
    std::memcpy(host, values.data(), values.size());
    runtime::copy_to_device(device, host, values.size(), nullptr);
    runtime::deallocate_host(host);
  }
  ~Matrix() { runtime::deallocate(device, nullptr); }
  Matrix(const Matrix&) = delete;
  Matrix& operator=(const Matrix&) = delete;

  double operator[](std::int64_t i) const { return load(values, type_, i); }
  std::vector<unsigned char> now() const {
    void* const host = runtime::allocate_host(values.size());
    runtime::copy_to_host(host, device, values.size(), nullptr);
    std::vector<unsigned char> found(values.size());
    std::memcpy(found.data(), host, found.size());
    runtime::deallocate_host(host);
    return found;
  }

 private:
  Type type_;

 public:
  std::vector<unsigned char> values;  ///< at first
  void* device;
};

class Blas : public testing::Test {
 protected:
  static constexpr std::size_t kWorkspace = 4096;

  Blas() : handle_(blas::create_handle()), workspace_(runtime::allocate(kWorkspace, nullptr)) {
    EXPECT_EQ(runtime::device_count(), 2);
  }
  ~Blas() override {
    faults().never_fail();
    blas::destroy_handle(handle_);
    runtime::deallocate(workspace_, nullptr);
    algorithms() = {{.refused = true}, {}};
    EXPECT_EQ(live_objects().counts(), before_);
  }

  /// A square f32 product of ones-like sizes, with memory of its own.
  blas::Product small(std::int64_t size = 3) {
    std::mt19937 random(5);
    for (int i = 0; i < 4; ++i) kept_.push_back(std::make_unique<Matrix>(Type::f32, size * size * 2, random));
    const auto at = [&](std::size_t from_end) { return kept_[kept_.size() - from_end]->device; };
    blas::Product p;
    p.m = p.n = p.k = p.ld_a = p.ld_b = p.ld_d = size;
    p.a = at(4);
    p.b = at(3);
    p.d = at(2);
    p.bias = at(1);
    p.batch = 2;
    p.batch_stride_a = p.batch_stride_b = p.batch_stride_d = size * size;
    return p;
  }
  void multiply(const blas::Product& p) { blas::multiply(handle_, p, workspace_, kWorkspace, nullptr); }
  std::string error_of(const blas::Product& p) {
    try {
      multiply(p);
    } catch (const DeviceError& error) {
      return error.what();
    }
    return "no DeviceError";
  }

  std::map<std::string, int> before_ = live_objects().counts();
  std::vector<std::unique_ptr<Matrix>> kept_;
  blas::Handle* handle_;
  void* workspace_;
};

// Whole numbers, whose sums are exact in every type.
TEST_F(Blas, RandomProductsAreTheirDefinition) {
  std::mt19937 random(1);
  const auto below = [&](std::int64_t n) {
    return static_cast<std::int64_t>(random() % static_cast<std::uint32_t>(n));
  };
  struct Types {
    Type in, out;
    Compute compute;
  };
  constexpr Types kTypes[] = {{Type::f32, Type::f32, Compute::f32},
                              {Type::f32, Type::f32, Compute::tf32},
                              {Type::f64, Type::f64, Compute::f64},
                              {Type::bf16, Type::bf16, Compute::f32},
                              {Type::bf16, Type::f32, Compute::f32}};
  for (int i = 0; i < 600; ++i) {
    const Types types = kTypes[i % 5];
    blas::Product p;
    p.in = types.in;
    p.out = types.out;
    p.compute = types.compute;
    p.transpose_a = below(2) == 1;
    p.transpose_b = below(2) == 1;
    p.m = 1 + below(6);
    p.n = 1 + below(6);
    p.k = 1 + below(6);
    p.batch = 1 + below(3);
    p.ld_a = (p.transpose_a ? p.k : p.m) + below(3);
    p.ld_b = (p.transpose_b ? p.n : p.k) + below(3);
    p.ld_d = p.m + below(3);
    p.batch_stride_a = below(2) * p.ld_a * 6;
    p.batch_stride_b = below(2) * p.ld_b * 6;
    p.batch_stride_d = p.ld_d * p.n + below(3);
    p.alpha = below(2) == 0 ? 1 : -2;
    p.beta = static_cast<double>(below(3)) - 1;
    Matrix a(p.in, p.ld_a * 18 + 1, random), b(p.in, p.ld_b * 18, random), d(p.out, p.batch * p.batch_stride_d, random),
        bias(p.out, p.m, random);
    const bool with_bias = p.in != Type::f64 && below(2) == 0;
    // Not aligned to more than an element where the last digit says so.
    const std::int64_t shift = below(2);
    p.a = static_cast<const char*>(a.device) + shift * static_cast<std::int64_t>(size_of(p.in));
    p.b = b.device;
    p.d = d.device;
    p.bias = with_bias ? bias.device : nullptr;
    std::vector<unsigned char> expected = d.values;
    for (std::int64_t batch = 0; batch < p.batch; ++batch) {
      for (std::int64_t row = 0; row < p.m; ++row) {
        for (std::int64_t column = 0; column < p.n; ++column) {
          double sum = 0;
          for (std::int64_t k = 0; k < p.k; ++k) {
            sum += a[shift + batch * p.batch_stride_a + (p.transpose_a ? k + row * p.ld_a : row + k * p.ld_a)] *
                   b[batch * p.batch_stride_b + (p.transpose_b ? column + k * p.ld_b : k + column * p.ld_b)];
          }
          const std::int64_t at = batch * p.batch_stride_d + row + column * p.ld_d;
          store(expected, p.out, at, p.alpha * sum + p.beta * d[at] + (with_bias ? bias[row] : 0));
        }
      }
    }
    multiply(p);
    const std::vector<unsigned char> found = d.now();
    for (std::int64_t at = 0; at < p.batch * p.batch_stride_d; ++at) {  // as numbers: zeros have either sign
      ASSERT_EQ(load(found, p.out, at), load(expected, p.out, at)) << "product " << i << ", element " << at;
    }
  }
}

TEST_F(Blas, TheStandInChecksSizesAndValues) {
  const blas::Library& lt = blas::library();
  cublasLtMatmulDesc_t description = nullptr;
  EXPECT_NE(lt.cublasLtMatmulDescCreate(&description, CUBLAS_COMPUTE_64F, CUDA_R_32F), CUBLAS_STATUS_SUCCESS);
  ASSERT_EQ(lt.cublasLtMatmulDescCreate(&description, CUBLAS_COMPUTE_32F, CUDA_R_32F), CUBLAS_STATUS_SUCCESS);
  const std::int64_t wide = CUBLAS_OP_T;
  const std::int32_t narrow = CUBLAS_OP_T, wrong = 77;
  EXPECT_EQ(lt.cublasLtMatmulDescSetAttribute(description, CUBLASLT_MATMUL_DESC_TRANSA, &wide, 8),
            CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(lt.cublasLtMatmulDescSetAttribute(description, CUBLASLT_MATMUL_DESC_TRANSA, &wrong, 4),
            CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(lt.cublasLtMatmulDescSetAttribute(description, CUBLASLT_MATMUL_DESC_TRANSA, &narrow, 4),
            CUBLAS_STATUS_SUCCESS);
  cublasLtMatmulPreference_t preference = nullptr;
  ASSERT_EQ(lt.cublasLtMatmulPreferenceCreate(&preference), CUBLAS_STATUS_SUCCESS);
  const std::uint32_t in_place = CUBLASLT_REDUCTION_SCHEME_INPLACE;
  EXPECT_EQ(
      lt.cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &in_place, 4),
      CUBLAS_STATUS_INVALID_VALUE);
  cublasLtMatrixLayout_t layout = nullptr;
  EXPECT_EQ(lt.cublasLtMatrixLayoutCreate(&layout, CUDA_R_32F, 3, 2, 2), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(lt.cublasLtMatmulDescDestroy(description), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(lt.cublasLtMatmulDescDestroy(description), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(lt.cublasLtMatmulPreferenceDestroy(preference), CUBLAS_STATUS_SUCCESS);
}

TEST_F(Blas, ARefusedAlgorithmIsNotTriedAgain) {
  const std::uint64_t before = faults().calls_of("cublasLtMatmul");
  const std::uint64_t plans = faults().calls_of("cublasLtMatmulAlgoGetHeuristic");
  const blas::Product p = small();
  multiply(p);
  EXPECT_EQ(faults().calls_of("cublasLtMatmul"), before + 2);
  multiply(p);
  EXPECT_EQ(faults().calls_of("cublasLtMatmul"), before + 3);
  EXPECT_EQ(faults().calls_of("cublasLtMatmulAlgoGetHeuristic"), plans + 1);
}

TEST_F(Blas, OnlyAlgorithmsThatComputeInTheGivenPrecisionAreTaken) {
  constexpr std::uint64_t kTf32 = CUBLASLT_NUMERICAL_IMPL_FLAGS_INPUT_TF32;
  algorithms() = {{.usable = false}, {.flags = kTf32}};
  const std::string text = error_of(small());
  for (const char* part : {"no algorithm with a workspace of 4096 bytes", "f32 product 3 x 3 x 3, batch 2", "bias",
                           "1 that round f32 operands were left out (NVIDIA_TF32_OVERRIDE?)"}) {
    EXPECT_NE(text.find(part), std::string::npos) << text;
  }
  algorithms() = {};
  EXPECT_EQ(error_of(small()).find("left out"), std::string::npos);
  algorithms() = {{.tells = false}, {.flags = kTf32}};  // unknown ones are better than none
  EXPECT_NO_THROW(multiply(small()));
  blas::destroy_handle(handle_);
  handle_ = blas::create_handle();
  algorithms() = {{.refused = true, .tells = false}, {}};  // but come last
  const std::uint64_t before = faults().calls_of("cublasLtMatmul");
  multiply(small());
  EXPECT_EQ(faults().calls_of("cublasLtMatmul"), before + 1);
  algorithms() = {{.flags = kTf32}};
  blas::Product tf32 = small();
  tf32.compute = Compute::tf32;
  EXPECT_NO_THROW(multiply(tf32));
  tf32.transpose_a = tf32.transpose_b = true;
  algorithms() = {};
  EXPECT_NE(error_of(tf32).find("f32 (tf32) product 3 x 3 x 3, batch 2, A^T ld 3, B^T ld 3, D f32 ld 3, bias"),
            std::string::npos);
}

TEST_F(Blas, AProductThatEveryAlgorithmRefusesIsAnError) {
  algorithms() = {{.refused = true}, {.refused = true}};
  EXPECT_NE(error_of(small()).find("cublasLtMatmul: an error"), std::string::npos);
}

// In a capture the choice of an algorithm and a refusal leave no trace: the graph has the product once.
TEST_F(Blas, TheFirstProductOfItsKindCanBeRecorded) {
  const runtime::Stream stream = runtime::create_stream();
  for (const bool refused : {true, false}) {
    algorithms() = {{.refused = refused}, {}};
    blas::Product p = small(refused ? 4 : 5);
    p.bias = nullptr;
    p.beta = 1;  // each run adds
    runtime::begin_capture(stream);
    blas::multiply(handle_, p, workspace_, kWorkspace, stream);
    const runtime::GraphExec graph = runtime::end_capture(stream);
    const Matrix& d = *kept_[kept_.size() - 2];
    EXPECT_EQ(d.now(), d.values) << "a recorded product has run";
    runtime::launch_graph(graph, stream);
    const std::vector<unsigned char> once = d.now();
    runtime::launch_graph(graph, stream);
    const std::vector<unsigned char> twice = d.now();
    for (std::int64_t i = 0; i < 2 * p.m * p.n; ++i) {
      ASSERT_EQ(load(twice, Type::f32, i) - load(once, Type::f32, i), load(once, Type::f32, i) - d[i]);
    }
    EXPECT_NE(once, d.values);
    runtime::destroy_graph(graph);
  }
  runtime::destroy_stream(stream);
}

// A product with everything that is set, on a handle that has no plans: each of its calls fails once.
TEST_F(Blas, EachCallThatFailsIsReportedByItsName) {
  const blas::Product p = small();
  const std::uint64_t start = faults().all_calls();
  multiply(p);
  const std::uint64_t calls = faults().all_calls() - start;
  EXPECT_GT(calls, 25u);
  std::map<std::string, int> reported;
  int swallowed = 0;
  for (std::uint64_t i = 1; i <= calls; ++i) {
    blas::destroy_handle(handle_);
    handle_ = blas::create_handle();
    faults().fail_call(i);
    const std::string text = error_of(p);
    EXPECT_FALSE(faults().pending());
    if (text == "no DeviceError") {
      ++swallowed;
    } else {
      EXPECT_NE(text.find(": the function failed to launch on the GPU (CUBLAS_STATUS_EXECUTION_FAILED) in the f32 "
                          "product 3 x 3 x 3, batch 2, A ld 3, B ld 3, D f32 ld 3, bias"),
                std::string::npos)
          << text;
      ++reported[text.substr(0, text.find(':'))];
    }
    multiply(p);
  }
  for (const char* function :
       {"cublasLtCreate", "cublasLtMatmul", "cublasLtMatmulAlgoGetHeuristic", "cublasLtMatmulDescCreate",
        "cublasLtMatmulDescSetAttribute", "cublasLtMatmulPreferenceCreate", "cublasLtMatmulPreferenceSetAttribute",
        "cublasLtMatrixLayoutCreate", "cublasLtMatrixLayoutSetAttribute"}) {
    EXPECT_GE(reported[function], 1) << function;
  }
  EXPECT_EQ(reported.size(), 9u);
  // cublasLtMatmulAlgoCapGetAttribute of two algorithms, and the destruction of the preference, which stays.
  EXPECT_EQ(swallowed, 3);
  ++before_["preference"];
}

TEST_F(Blas, PlansAreMadeAnewWhenThereAreTooMany) {
  std::mt19937 random(2);
  const Matrix a(Type::f32, 8192, random), b(Type::f32, 1, random), d(Type::f32, 8192, random);
  blas::Product p;
  p.a = a.device;
  p.b = b.device;
  p.d = d.device;
  p.n = p.k = p.ld_b = 1;
  p.m = 1;
  int most = 0;
  for (std::int64_t ld = 1; ld <= 4100; ++ld) {
    p.ld_a = p.ld_d = ld;
    multiply(p);
    most = std::max(most, live_objects().counts().at("description"));
  }
  EXPECT_EQ(most, 4096);
  EXPECT_EQ(live_objects().counts().at("description"), 4);
}

TEST_F(Blas, WhatCannotBeSaidToTheLibraryIsAValueError) {
  blas::Product p = small();
  p.batch = std::int64_t{1} << 31;
  EXPECT_THROW(multiply(p), ValueError);
  p = small();
  p.in = static_cast<Type>(9);
  EXPECT_THROW(multiply(p), ValueError);
  p = small();
  p.compute = static_cast<Compute>(9);
  EXPECT_THROW(multiply(p), ValueError);
}

TEST_F(Blas, ErrorsNameTheTypes) {
  blas::Product p = small();
  for (const auto& [type, text] : {std::pair(Type::f32, "in the f32 product"),
                                   {Type::f64, "in the f64 product"},
                                   {Type::bf16, "in the bf16 product"},
                                   {static_cast<Type>(9), "in the  product"}}) {
    p.in = type;
    faults().fail("cublasLtMatmulDescCreate", CUBLAS_STATUS_EXECUTION_FAILED);
    EXPECT_NE(error_of(p).find(text), std::string::npos);
  }
}

TEST_F(Blas, WorksWithoutAWorkspace) { EXPECT_NO_THROW(blas::multiply(handle_, small(), nullptr, 1 << 20, nullptr)); }

TEST(Library, ThatIsMissingIsOneErrorWithTheNamesLookedFor) {
  const char* const absent[] = {"/nowhere/libcublasLt.so.1", "libweft_absent.so.13"};
  try {
    blas::open_library(absent);
    FAIL() << "nothing was thrown";
  } catch (const DeviceError& error) {
    const std::string text = error.what();
    for (const char* name : absent) EXPECT_NE(text.find(name), std::string::npos) << text;
  }
  const char* const other[] = {"/nowhere/libcublasLt.so.1", "libm.so.6"};
  try {
    blas::open_library(other);
    FAIL() << "nothing was thrown";
  } catch (const DeviceError& error) {
    EXPECT_NE(std::string(error.what()).find("lacks a function"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("cublasLtCreate"), std::string::npos) << error.what();
  }
}

// A child of few files, which cannot open another.
void describe_without_files() {
  rlimit usual{};
  getrlimit(RLIMIT_NOFILE, &usual);
  const rlimit few{3, usual.rlim_max};
  setrlimit(RLIMIT_NOFILE, &few);
  std::cerr << blas::description();
  setrlimit(RLIMIT_NOFILE, &usual);
  std::exit(0);
}

TEST(LibraryDeathTest, ThatIsMissingIsDescribed) {
  EXPECT_EXIT(describe_without_files(), testing::ExitedWithCode(0),
              "cannot be opened: .*weft_cublaslt.*; libcublasLt.so.[0-9]+: ");
}

TEST(Library, TellsItsVersion) {
  EXPECT_EQ(blas::description(), "cuBLASLt " + std::to_string(CUBLAS_VER_MAJOR) + "." +
                                     std::to_string(CUBLAS_VER_MINOR) + "." + std::to_string(CUBLAS_VER_PATCH));
}

}  // namespace
}  // namespace weft::cuda_libraries
