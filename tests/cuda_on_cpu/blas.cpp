#include "cuda/runtime/blas.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "core/device/convert.h"
#include "cuda_on_cpu.h"
#include "tests/ptx_on_cpu/executor.h"
#include "twin.h"
#include "weft/error.h"

// cuda/runtime/blas.h by the definition, after checking what cuBLASLt asks of its arguments.

namespace weft::cuda::blas {

class Handle {
 public:
  int device;
};

namespace {

using scalar::Bfloat;

[[noreturn]] void fail(const std::string& what) { throw DeviceError("cublasLtMatmul: invalid value: " + what); }

void check(bool holds, const char* what) {
  if (!holds) fail(what);
}

std::size_t size_of(Type type) { return type == Type::f64 ? 8 : type == Type::f32 ? 4 : 2; }

// The bytes from the first element of an operand to its last one.
struct Range {
  const char* name;
  std::uintptr_t begin, end;
};

// A matrix of `rows` x `columns` in memory, `batch` times.
Range check_matrix(const char* name, const void* data, Type type, std::int64_t rows, std::int64_t columns,
                   std::int64_t ld, std::int64_t batch, std::int64_t stride) {
  const std::string matrix = name;
  if (data == nullptr) fail(matrix + " is null");
  if (ld < rows)
    fail("the leading dimension of " + matrix + " is " + std::to_string(ld) + " for " + std::to_string(rows) + " rows");
  if (reinterpret_cast<std::uintptr_t>(data) % size_of(type) != 0) fail(matrix + " is not aligned to its elements");
  if (batch > 1 && stride < 0) fail("the batch stride of " + matrix + " is negative");
  const std::int64_t elements = (batch > 1 ? (batch - 1) * stride : 0) + (columns - 1) * ld + rows;
  const std::size_t bytes = static_cast<std::size_t>(elements) * size_of(type);
  if (!cuda_on_cpu::on_device(data, bytes)) {
    fail(matrix + " is not device memory of " + std::to_string(bytes) + " bytes");
  }
  const auto begin = reinterpret_cast<std::uintptr_t>(data);
  return {name, begin, begin + bytes};
}

void check_disjoint(const Range& x, const Range& y) {
  if (x.begin < y.end && y.begin < x.end) fail(std::string(x.name) + " overlaps " + y.name);
}

void check_types(const Product& p) {
  const bool f32 = p.in == Type::f32 && p.out == Type::f32;
  const bool f64 = p.in == Type::f64 && p.out == Type::f64;
  const bool bf16 = p.in == Type::bf16 && (p.out == Type::bf16 || p.out == Type::f32);
  const bool fits = p.compute == Compute::f64 ? f64 : p.compute == Compute::tf32 ? f32 : f32 || bf16;
  check(fits, "no such combination of data and compute types");
}

void check_product(const Product& p, const void* workspace, std::size_t workspace_bytes) {
  check(p.m > 0 && p.n > 0 && p.k > 0 && p.batch > 0, "m, n, k and batch are not all positive");
  check(p.batch <= 65535, "batch exceeds 65,535");  // beyond which some of cuBLASLt's kernels fail
  check_types(p);
  const Range a = check_matrix("A", p.a, p.in, p.transpose_a ? p.k : p.m, p.transpose_a ? p.m : p.k, p.ld_a, p.batch,
                               p.batch_stride_a);
  const Range b = check_matrix("B", p.b, p.in, p.transpose_b ? p.n : p.k, p.transpose_b ? p.k : p.n, p.ld_b, p.batch,
                               p.batch_stride_b);
  const Range d = check_matrix("D", p.d, p.out, p.m, p.n, p.ld_d, p.batch, p.batch_stride_d);
  check(p.batch == 1 || p.batch_stride_d >= (p.n - 1) * p.ld_d + p.m, "the products of a batch overlap in D");
  check_disjoint(d, a);
  check_disjoint(d, b);
  Range bias{"bias", 0, 0};
  if (p.bias != nullptr) {
    if (p.in == Type::f64) fail("f64 takes no bias");
    bias = check_matrix("bias", p.bias, p.out, p.m, 1, p.m, 1, 0);
    check_disjoint(d, bias);
    // Some kernels read it so, though its alignment is nothing that a preference names.
    check(reinterpret_cast<std::uintptr_t>(p.bias) % 16 == 0, "the bias is not aligned to 16 bytes");
  }
  if (workspace_bytes == 0) return;
  check(workspace != nullptr, "the workspace is null");
  check(reinterpret_cast<std::uintptr_t>(workspace) % 16 == 0, "the workspace is not aligned to 16 bytes");
  check(cuda_on_cpu::on_device(workspace, workspace_bytes), "the workspace is not device memory");
  const auto begin = reinterpret_cast<std::uintptr_t>(workspace);
  const Range scratch{"the workspace", begin, begin + workspace_bytes};
  for (const Range& other : {a, b, d, bias}) check_disjoint(scratch, other);
}

float to_tf32(float x) { return scalar::bits_as<float>(cuda_on_cpu::to_tf32(x)); }

template <class T>
double load(const void* data, std::int64_t i) {
  return scalar::convert<double>(static_cast<const T*>(data)[i]);
}
double load(const void* data, Type type, std::int64_t i) {
  return type == Type::f64 ? load<double>(data, i) : type == Type::f32 ? load<float>(data, i) : load<Bfloat>(data, i);
}
void store(void* data, Type type, std::int64_t i, double value) {
  if (type == Type::f64) {
    static_cast<double*>(data)[i] = value;
  } else if (type == Type::f32) {
    static_cast<float*>(data)[i] = static_cast<float>(value);
  } else {
    static_cast<Bfloat*>(data)[i] = scalar::to_bfloat(static_cast<float>(value));
  }
}

// The matrix, or its transpose, as doubles without gaps: out is rows x columns, column-major.
void unpack(const void* data, const Product& p, std::int64_t start, std::int64_t ld, bool transpose, std::int64_t rows,
            std::int64_t columns, std::vector<double>& out) {
  out.resize(static_cast<std::size_t>(rows * columns));
  double* next = out.data();
  for (std::int64_t j = 0; j < columns; ++j) {
    for (std::int64_t i = 0; i < rows; ++i) {
      const double value = load(data, p.in, start + (transpose ? j + i * ld : i + j * ld));
      *next++ = p.compute == Compute::tf32 ? to_tf32(static_cast<float>(value)) : value;
    }
  }
}

void compute(const Product& p) {
  const bool wide = p.compute == Compute::f64;
  const double alpha = wide ? p.alpha : static_cast<float>(p.alpha), beta = wide ? p.beta : static_cast<float>(p.beta);
  std::vector<double> a, b, sum;
  for (std::int64_t batch = 0; batch < p.batch; ++batch) {
    unpack(p.a, p, batch * p.batch_stride_a, p.ld_a, p.transpose_a, p.m, p.k, a);
    unpack(p.b, p, batch * p.batch_stride_b, p.ld_b, p.transpose_b, p.k, p.n, b);
    for (std::int64_t j = 0; j < p.n; ++j) {
      sum.assign(static_cast<std::size_t>(p.m), 0);
      for (std::int64_t l = 0; l < p.k; ++l) {
        const double factor = b[static_cast<std::size_t>(l + j * p.k)];
        const double* column = a.data() + l * p.m;
        for (std::int64_t i = 0; i < p.m; ++i) sum[static_cast<std::size_t>(i)] += column[i] * factor;
      }
      for (std::int64_t i = 0; i < p.m; ++i) {
        const std::int64_t at = batch * p.batch_stride_d + i + j * p.ld_d;
        double value = alpha * sum[static_cast<std::size_t>(i)];
        if (beta != 0) value += beta * load(p.d, p.out, at);
        if (p.bias != nullptr) value += load(p.bias, p.out, i);
        store(p.d, p.out, at, value);
      }
    }
  }
}

}  // namespace

std::string description() { return "products by their definition"; }

Handle* create_handle() { return new Handle{cuda_on_cpu::current_device()}; }
void destroy_handle(Handle* handle) noexcept { delete handle; }

void multiply(Handle* handle, const Product& product, void* workspace, std::size_t workspace_bytes,
              runtime::Stream stream) {
  check(handle != nullptr, "the handle is null");
  check(cuda_on_cpu::device_of(stream, "cublasLtMatmul") == handle->device, "the stream is of another device");
  check_product(product, workspace, workspace_bytes);
  cuda_on_cpu::enqueue("cublasLtMatmul", stream, [=] {
    if (ptx_on_cpu::wanted()) ptx_on_cpu::note_product();
    check_product(product, workspace, workspace_bytes);
    // The caller may keep nothing in the workspace. Its ends show that: all of it, 32 MiB for each product, took two
    // fifths of the time of device_test.
    const std::size_t end = std::min<std::size_t>(workspace_bytes, 65536);
    if (end > 0) std::memset(workspace, 0xFF, end);
    if (end > 0) std::memset(static_cast<char*>(workspace) + workspace_bytes - end, 0xFF, end);
    compute(product);
  });
}

}  // namespace weft::cuda::blas
