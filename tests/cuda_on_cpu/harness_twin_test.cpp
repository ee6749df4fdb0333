#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <utility>

#include "core/device/convert.h"
#include "cuda/runtime/blas.h"
#include "cuda/runtime/launch.h"
#include "harness_test.h"
#include "twin.h"
#include "weft/error.h"

// The CUDA runtime and cuBLASLt as they stand on the CPU.

namespace weft::cuda {

namespace {

using cuda_on_cpu::Buffer;
using cuda_on_cpu::error_of;
using scalar::Bfloat;
using testing::HasSubstr;

/// Page-locked memory of n floats.
class Pinned {
 public:
  explicit Pinned(std::size_t n) : data_(static_cast<float*>(runtime::allocate_host(n * sizeof(float)))) {}
  ~Pinned() { runtime::deallocate_host(data_); }
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;
  float* data() const { return data_; }

 private:
  float* data_;
};

class Stream {
 public:
  Stream() : stream_(runtime::create_stream()) {}
  ~Stream() { runtime::destroy_stream(stream_); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  operator runtime::Stream() const { return stream_; }

 private:
  runtime::Stream stream_;
};

WEFT_KERNEL add_kernel(float* y, float value) { y[threadIdx.x] += value; }

TEST(Runtime, CapturesAndReplays) {
  const Stream stream, other;
  const Pinned in(4), out(4);
  const Buffer<float> x(4), y(4);
  for (int i = 0; i < 4; ++i) in.data()[i] = static_cast<float>(i), out.data()[i] = -1;
  const std::uint64_t launches = cuda_on_cpu::launches();

  runtime::begin_capture(stream);
  runtime::copy_to_device(x.data(), in.data(), 16, stream);
  launch({"add", 1, 4, stream}, add_kernel, x.data(), 10.0f);
  runtime::copy_on_device(y.data(), x.data(), 16, stream);
  runtime::set_bytes(x.data(), 0, 8, stream);
  runtime::copy_to_host(out.data(), y.data(), 16, stream);
  runtime::synchronize(other);
  const runtime::GraphExec graph = runtime::end_capture(stream);
  EXPECT_EQ(cuda_on_cpu::launches(), launches);
  EXPECT_TRUE(std::isnan(x.data()[0]));
  EXPECT_EQ(out.data()[3], -1);

  for (const float first : {5.0f, 6.0f}) {
    in.data()[0] = first;
    runtime::launch_graph(graph, stream);
    EXPECT_THAT(y.values(), testing::ElementsAre(first + 10, 11, 12, 13));
    EXPECT_THAT(x.values(), testing::ElementsAre(0, 0, 12, 13));
    EXPECT_EQ(out.data()[0], first + 10);
  }
  EXPECT_EQ(cuda_on_cpu::launches(), launches + 2);

  // A graph in a graph.
  runtime::begin_capture(other);
  runtime::launch_graph(graph, other);
  const runtime::GraphExec outer = runtime::end_capture(other);
  runtime::destroy_graph(graph);
  in.data()[0] = 7;
  runtime::launch_graph(outer, other);
  EXPECT_EQ(out.data()[0], 17);
  runtime::destroy_graph(outer);
}

TEST(Runtime, WaitingBreaksACapture) {
  const Stream stream;
  const Buffer<float> x(std::vector<float>{1});
  runtime::begin_capture(stream);
  EXPECT_EQ(error_of([&] { runtime::begin_capture(stream); }), "cudaStreamBeginCapture: illegal state");
  EXPECT_THAT(error_of([&] { runtime::allocate(8, stream); }), HasSubstr("not permitted when stream is capturing"));
  launch({"add", 1, 1, stream}, add_kernel, x.data(), 10.0f);
  EXPECT_EQ(error_of([&] { runtime::synchronize(stream); }),
            "cudaStreamSynchronize: operation not permitted when stream is capturing");
  EXPECT_THAT(error_of([&] { runtime::end_capture(stream); }), HasSubstr("previous error during capture"));
  EXPECT_EQ(error_of([&] { runtime::end_capture(stream); }), "cudaStreamEndCapture: illegal state");
  runtime::synchronize(stream);
  EXPECT_EQ(x.data()[0], 1);
  launch({"add", 1, 1, stream}, add_kernel, x.data(), 10.0f);
  EXPECT_EQ(x.data()[0], 11);
}

TEST(Runtime, GraphsThatOutliveTheirMemory) {
  const Stream stream;
  const Buffer<float> x(1);
  void* const gone = runtime::allocate(4, stream);
  runtime::begin_capture(stream);
  runtime::copy_on_device(x.data(), gone, 4, stream);
  const runtime::GraphExec graph = runtime::end_capture(stream);
  runtime::deallocate(gone, stream);
  EXPECT_THROW(runtime::launch_graph(graph, stream), DeviceError);
  runtime::destroy_graph(graph);
}

TEST(Runtime, MemoryLimit) {
  cuda_on_cpu::set_memory_limit(1000);
  const runtime::MemoryInfo before = runtime::memory_info();
  EXPECT_EQ(before.total, 1000u);
  EXPECT_EQ(before.free, 1000u);
  void* const most = runtime::allocate(900, nullptr);
  ASSERT_NE(most, nullptr);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(most) % 256, 0u);
  EXPECT_EQ(runtime::allocate(101, nullptr), nullptr);
  EXPECT_EQ(runtime::memory_info().free, 100u);
  runtime::set_device(1);
  EXPECT_EQ(runtime::memory_info().free, 1000u);
  runtime::set_device(0);
  runtime::deallocate(most, nullptr);
  EXPECT_EQ(runtime::memory_info().free, 1000u);
  EXPECT_THROW(runtime::allocate(0, nullptr), DeviceError);
  cuda_on_cpu::set_memory_limit(std::size_t{4} << 30);
}

TEST(Runtime, PointersOfTheWrongSide) {
  const Pinned host(4);
  const Buffer<float> x(4), y(4);
  float stack[4] = {};
  EXPECT_THROW(runtime::copy_to_device(host.data(), host.data(), 8, nullptr), DeviceError);
  EXPECT_THROW(runtime::copy_to_device(x.data(), y.data(), 8, nullptr), DeviceError);
  EXPECT_THAT(error_of([&] { runtime::copy_to_device(x.data(), stack, 8, nullptr); }),
              HasSubstr("cudaMemcpyAsync: invalid argument (the source is not page-locked host memory of 8 bytes)"));
  EXPECT_THROW(runtime::copy_to_host(x.data(), y.data(), 8, nullptr), DeviceError);
  EXPECT_THROW(runtime::copy_to_host(host.data(), host.data(), 8, nullptr), DeviceError);
  EXPECT_THROW(runtime::copy_on_device(x.data(), host.data(), 8, nullptr), DeviceError);
  EXPECT_THROW(runtime::copy_on_device(x.data(), y.data(), 17, nullptr), DeviceError);
  EXPECT_THROW(runtime::copy_on_device(x.data() + 1, x.data(), 8, nullptr), DeviceError);
  EXPECT_THROW(runtime::set_bytes(host.data(), 0, 8, nullptr), DeviceError);
  EXPECT_THROW(runtime::set_bytes(x.data() + 3, 0, 8, nullptr), DeviceError);
  runtime::copy_to_device(x.data(), stack, 0, nullptr);
}

TEST(Runtime, Counters) {
  const Stream stream;
  const runtime::Event start = runtime::create_event(), end = runtime::create_event();
  const std::uint64_t waits = cuda_on_cpu::synchronizations(), allocations = cuda_on_cpu::system_allocations();
  EXPECT_THROW(runtime::elapsed(start, end), DeviceError);
  runtime::record(start, stream);
  runtime::record(end, stream);
  EXPECT_GE(runtime::elapsed(start, end), 0);
  EXPECT_EQ(cuda_on_cpu::synchronizations(), waits);
  runtime::synchronize(stream);
  runtime::synchronize(end);
  EXPECT_EQ(cuda_on_cpu::synchronizations(), waits + 2);
  EXPECT_EQ(cuda_on_cpu::system_allocations(), allocations);
  { const Pinned host(1); }
  { const Buffer<float> device(1); }
  EXPECT_EQ(cuda_on_cpu::system_allocations(), allocations + 2);
  runtime::destroy_event(start);
  runtime::destroy_event(end);
}

TEST(Runtime, Devices) {
  EXPECT_EQ(runtime::device_count(), 2);
  EXPECT_EQ(runtime::unavailable_reason(), "");
  EXPECT_EQ(runtime::properties(1).name, "CPU standing in for CUDA");
  EXPECT_EQ(error_of([] { runtime::set_device(2); }), "cudaSetDevice: invalid device ordinal");
  const Stream stream;
  const Buffer<float> x(1);
  runtime::set_device(1);
  EXPECT_THROW(launch({"add", 1, 1, stream}, add_kernel, x.data(), 1.0f), DeviceError);
  runtime::set_device(0);

  runtime::Stream gone = runtime::create_stream();
  runtime::destroy_stream(gone);
  EXPECT_EQ(error_of([&] { runtime::synchronize(gone); }), "cudaStreamSynchronize: invalid resource handle");

  cuda_on_cpu::set_device_count(0);
  EXPECT_EQ(runtime::device_count(), 0);
  EXPECT_NE(runtime::unavailable_reason(), "");
  EXPECT_THROW(runtime::set_device(0), DeviceError);
  EXPECT_THROW(runtime::create_stream(), DeviceError);
  cuda_on_cpu::set_device_count(2);
}

TEST(Runtime, GpusBelowCapability8AreNotUsable) {
  cuda_on_cpu::set_capability(7, 5);
  EXPECT_EQ(runtime::device_count(), 0);
  const std::string reason = runtime::unavailable_reason();
  for (const char* part :
       {"CPU standing in for CUDA (CUDA's device 0)", "(CUDA's device 1)", "capability 7.5", "8.0"}) {
    EXPECT_NE(reason.find(part), std::string::npos) << reason;
  }
  cuda_on_cpu::set_capability(8, 0);
  EXPECT_EQ(runtime::device_count(), 2);
  EXPECT_EQ(runtime::unavailable_reason(), "");
  cuda_on_cpu::set_capability(9, 0);
}

class Blas : public testing::Test {
 protected:
  void SetUp() override { handle_ = blas::create_handle(); }
  void TearDown() override { blas::destroy_handle(handle_); }
  void multiply(const blas::Product& product) { blas::multiply(handle_, product, nullptr, 0, nullptr); }

  blas::Handle* handle_ = nullptr;
};

template <class T>
std::vector<T> noise(std::int64_t count, unsigned seed) {
  std::vector<T> values;
  for (std::int64_t i = 0; i < count; ++i) {
    seed = seed * 1664525u + 1013904223u;
    values.push_back(scalar::convert<T>(static_cast<double>(seed >> 8) / (1 << 23) - 1));
  }
  return values;
}

// All transposes, with gaps between columns and between the products of a batch; `round` is applied to A and B.
template <class In, class Out, class Round>
void check_products(blas::Handle* handle, blas::Type in, blas::Type out, blas::Compute compute, double tolerance,
                    Round round) {
  constexpr std::int64_t m = 5, n = 4, k = 7, batch = 3;
  for (int variant = 0; variant < 16; ++variant) {
    SCOPED_TRACE(variant);
    blas::Product p{.in = in, .out = out, .compute = compute, .m = m, .n = n, .k = k, .batch = batch};
    p.transpose_a = (variant & 1) != 0;
    p.transpose_b = (variant & 2) != 0;
    p.alpha = 0.75;
    p.beta = (variant & 4) != 0 ? -0.5 : 0;
    p.ld_a = (p.transpose_a ? k : m) + 2, p.ld_b = (p.transpose_b ? n : k) + 1, p.ld_d = m + 3;
    p.batch_stride_a = 80, p.batch_stride_b = 0, p.batch_stride_d = n * p.ld_d + 1;
    const Buffer<In> a(noise<In>(batch * 80, 1)), b(noise<In>(80, 2));
    const Buffer<Out> d(noise<Out>(batch * p.batch_stride_d, 3)), bias(noise<Out>(m, 4));
    p.a = a.data(), p.b = b.data(), p.d = d.data();
    if ((variant & 8) != 0 && in != blas::Type::f64) p.bias = bias.data();
    const std::vector<Out> before = d.values();
    blas::multiply(handle, p, nullptr, 0, nullptr);

    std::vector<Out> untouched = before;
    for (std::int64_t q = 0; q < batch; ++q) {
      for (std::int64_t i = 0; i < m; ++i) {
        for (std::int64_t j = 0; j < n; ++j) {
          double sum = 0;
          for (std::int64_t l = 0; l < k; ++l) {
            const In x = a.data()[q * 80 + (p.transpose_a ? l + i * p.ld_a : i + l * p.ld_a)];
            const In y = b.data()[p.transpose_b ? j + l * p.ld_b : l + j * p.ld_b];
            sum += round(scalar::convert<double>(x)) * round(scalar::convert<double>(y));
          }
          const auto at = static_cast<std::size_t>(q * p.batch_stride_d + i + j * p.ld_d);
          double expected = 0.75 * sum + p.beta * scalar::convert<double>(before[at]);
          if (p.bias != nullptr) expected += scalar::convert<double>(bias.data()[i]);
          EXPECT_NEAR(scalar::convert<double>(d.data()[at]), expected, tolerance * (1 + std::abs(expected)));
          untouched[at] = d.data()[at];
        }
      }
    }
    EXPECT_EQ(std::memcmp(untouched.data(), d.data(), untouched.size() * sizeof(Out)), 0);
  }
}

TEST_F(Blas, Products) {
  using blas::Compute, blas::Type;
  const auto as_is = [](double x) { return x; };
  const auto tf32 = [](double x) {
    int exponent = 0;
    const double mantissa = std::round(std::ldexp(std::frexp(x, &exponent), 11));
    return std::ldexp(mantissa, exponent - 11);
  };
  check_products<float, float>(handle_, Type::f32, Type::f32, Compute::f32, 1e-7, as_is);
  check_products<float, float>(handle_, Type::f32, Type::f32, Compute::tf32, 1e-7, tf32);
  check_products<double, double>(handle_, Type::f64, Type::f64, Compute::f64, 1e-15, as_is);
  check_products<Bfloat, float>(handle_, Type::bf16, Type::f32, Compute::f32, 1e-7, as_is);
  check_products<Bfloat, Bfloat>(handle_, Type::bf16, Type::bf16, Compute::f32, 1.0 / 256, as_is);
}

TEST_F(Blas, IsCapturedWithItsArguments) {
  const Stream stream;
  const Buffer<float> a(std::vector<float>{3}), b(std::vector<float>{4}), d(1);
  blas::Product p{.m = 1, .n = 1, .k = 1, .a = a.data(), .b = b.data(), .d = d.data(), .ld_a = 1, .ld_b = 1, .ld_d = 1};
  runtime::begin_capture(stream);
  blas::multiply(handle_, p, nullptr, 0, stream);
  const runtime::GraphExec graph = runtime::end_capture(stream);
  EXPECT_TRUE(std::isnan(d.data()[0]));
  a.data()[0] = 5;
  p.alpha = 100;
  runtime::launch_graph(graph, stream);
  EXPECT_EQ(d.data()[0], 20);
  runtime::destroy_graph(graph);
}

TEST_F(Blas, WrongArguments) {
  const Buffer<float> a(100), b(100), d(100), bias(5), workspace(64);
  const Pinned host(100);
  const blas::Product right{.m = 5,
                            .n = 4,
                            .k = 7,
                            .batch = 2,
                            .a = a.data(),
                            .b = b.data(),
                            .d = d.data(),
                            .ld_a = 5,
                            .ld_b = 7,
                            .ld_d = 5,
                            .batch_stride_a = 35,
                            .batch_stride_b = 28,
                            .batch_stride_d = 20,
                            .bias = bias.data()};
  EXPECT_NO_THROW(multiply(right));
  const auto wrong = [&](const char* part, auto change) {
    blas::Product p = right;
    change(p);
    EXPECT_THAT(error_of([&] { multiply(p); }), HasSubstr(part));
    EXPECT_THROW(multiply(p), DeviceError);
  };
  using P = blas::Product;
  wrong("positive", [](P& p) { p.m = 0; });
  wrong("positive", [](P& p) { p.n = -1; });
  wrong("positive", [](P& p) { p.k = 0; });
  wrong("positive", [](P& p) { p.batch = 0; });
  wrong("leading dimension of A is 4", [](P& p) { p.ld_a = 4; });
  wrong("leading dimension of A is 5", [](P& p) { p.transpose_a = true; });
  wrong("leading dimension of B is 6", [](P& p) { p.ld_b = 6; });
  wrong("leading dimension of B is 3", [](P& p) { p.transpose_b = true, p.ld_b = 3; });
  wrong("leading dimension of D is 4", [](P& p) { p.ld_d = 4; });
  wrong("types", [](P& p) { p.out = blas::Type::f64; });
  wrong("types", [](P& p) { p.compute = blas::Compute::f64; });
  wrong("types", [](P& p) { p.in = p.out = blas::Type::f64; });
  wrong("types", [](P& p) { p.in = p.out = blas::Type::bf16, p.compute = blas::Compute::tf32; });
  wrong("A is null", [](P& p) { p.a = nullptr; });
  wrong("A is not aligned", [&](P& p) { p.a = reinterpret_cast<const char*>(a.data()) + 2; });
  wrong("D is not aligned", [&](P& p) { p.d = reinterpret_cast<char*>(d.data()) + 1; });
  wrong("B is not device memory of 224 bytes", [&](P& p) { p.b = host.data(); });
  wrong("A is not device memory", [&](P& p) { p.a = a.data() + 31; });
  wrong("D is not device memory", [](P& p) { p.batch_stride_d = 81; });
  wrong("batch stride of A is negative", [](P& p) { p.batch_stride_a = -35; });
  wrong("overlap in D", [](P& p) { p.batch_stride_d = 19; });
  wrong("D overlaps A", [&](P& p) { p.d = a.data() + 60; });
  wrong("D overlaps B", [&](P& p) { p.d = b.data(); });
  wrong("D overlaps bias", [&](P& p) { p.bias = d.data() + 35; });
  wrong("bias is not device memory of 20 bytes", [&](P& p) { p.bias = bias.data() + 1; });
  wrong("bias is not aligned to 16 bytes", [&](P& p) { p.bias = bias.data() + 1, p.m = 4; });
  wrong("batch exceeds 65,535", [](P& p) { p.batch = 65536; });

  const auto with_workspace = [&](void* address, std::size_t bytes) {
    return error_of([&] { blas::multiply(handle_, right, address, bytes, nullptr); });
  };
  EXPECT_EQ(with_workspace(workspace.data(), 256), "");
  EXPECT_THAT(with_workspace(nullptr, 256), HasSubstr("the workspace is null"));
  EXPECT_THAT(with_workspace(workspace.data(), 257), HasSubstr("the workspace is not device memory"));
  EXPECT_THAT(with_workspace(workspace.data() + 1, 16), HasSubstr("the workspace is not aligned"));
  EXPECT_THAT(with_workspace(d.data(), 16), HasSubstr("the workspace overlaps D"));

  runtime::set_device(1);
  {
    const Stream elsewhere;
    EXPECT_THAT(error_of([&] { blas::multiply(handle_, right, nullptr, 0, elsewhere); }), HasSubstr("another device"));
  }
  runtime::set_device(0);
}

}  // namespace

}  // namespace weft::cuda
