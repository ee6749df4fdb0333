#include "cuda/matmul/gemm.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>

#include "cuda/runtime/profile.h"
#include "weft/error.h"

namespace weft::cuda {

namespace {

constexpr std::int64_t kBatch = 32768;      // products of one call: some of cuBLASLt's kernels fail above 65,535
constexpr std::size_t kBiasAlignment = 16;  // some of its kernels read 16 bytes of a bias at a time
constexpr std::size_t kWorkspaceBytes = std::size_t{32} << 20;  // what cuBLASLt's Hopper kernels ask for at most

blas::Type blas_type(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return blas::Type::f32;
    case DType::f64:
      return blas::Type::f64;
    case DType::bf16:
      return blas::Type::bf16;
    default:
      throw DTypeError("gemm: " + std::string(name(dtype)) + " is not supported on a GPU");
  }
}

/// A matrix as BLAS takes it: column-major (rows, columns), or the transpose of one.
struct Operand {
  const void* data;
  bool transposed;
  std::int64_t leading, batch;
};

/// One operand with the dense copy that it may need.
class Placed {
 public:
  /// (rows, columns) with strides `down` and `across`.
  Placed(CudaBackend& device, DType dtype, const Matrices& m, std::int64_t down, std::int64_t across, std::int64_t rows,
         std::int64_t columns, std::int64_t batch) {
    const auto fits = [](std::int64_t inner, std::int64_t inner_size, std::int64_t outer, std::int64_t outer_size) {
      return (inner == 1 || inner_size == 1) && (outer >= inner_size || outer_size == 1);
    };
    const bool batch_fits = batch == 1 || m.batch >= 0;
    if (batch_fits && fits(down, rows, across, columns)) {
      operand = {m.data, false, columns == 1 ? rows : across, m.batch};
    } else if (batch_fits && fits(across, columns, down, rows)) {
      operand = {m.data, true, rows == 1 ? columns : down, m.batch};
    } else {
      copy_.emplace(device.context(), static_cast<std::size_t>(batch * rows * columns) * size_of(dtype));
      device.copy({m.data, {batch, columns, rows}, {m.batch, across, down}, dtype},
                  {copy_->data(), {batch, columns, rows}, {columns * rows, rows, 1}, dtype});
      operand = {copy_->data(), false, rows, rows * columns};
    }
  }

  Operand operand{};

 private:
  std::optional<Scratch> copy_;
};

const char* name(const blas::Product& p) {
  if (p.in == blas::Type::f64) return "f64";
  if (p.in == blas::Type::bf16) return p.out == blas::Type::f32 ? "bf16 to f32" : "bf16";
  return p.compute == blas::Compute::tf32 ? "tf32" : "f32";
}

std::string profile_name(const blas::Product& p) {
  std::string text = "cublasLt matmul " + std::to_string(p.m) + "x" + std::to_string(p.n) + "x" + std::to_string(p.k);
  if (p.batch != 1) text += " batch " + std::to_string(p.batch);
  return text + " " + name(p);
}

/// The products of more than kBatch matrices, kBatch of them at a time.
void multiply_batches(CudaBackend& device, const Gemm& g) {
  const auto from = [](auto* data, std::int64_t elements, DType dtype) {
    using Byte = std::conditional_t<std::is_const_v<std::remove_pointer_t<decltype(data)>>, const char, char>;
    return static_cast<Byte*>(data) + elements * static_cast<std::int64_t>(size_of(dtype));
  };
  for (std::int64_t first = 0; first < g.batch; first += kBatch) {
    Gemm some = g;
    some.batch = std::min(kBatch, g.batch - first);
    some.a.data = from(g.a.data, first * g.a.batch, g.in);
    some.b.data = from(g.b.data, first * g.b.batch, g.in);
    some.out = from(g.out, first * g.out_batch, g.out_type);
    gemm(device, some);
  }
}

/// Whether the bias is added before the product: cuBLASLt adds an aligned one, and to f32 and bf16 only.
bool adds_bias_first(const Gemm& g) {
  return g.bias != nullptr &&
         (g.k == 0 || g.in == DType::f64 || reinterpret_cast<std::uintptr_t>(g.bias) % kBiasAlignment != 0);
}

blas::Product product_of(const Gemm& g, const Operand& left, const Operand& right, bool accumulate) {
  blas::Product p;
  p.in = blas_type(g.in);
  p.out = blas_type(g.out_type);
  p.compute = g.in == DType::f64                                     ? blas::Compute::f64
              : g.in == DType::f32 && g.precision == Precision::tf32 ? blas::Compute::tf32
                                                                     : blas::Compute::f32;
  p.transpose_a = left.transposed;
  p.transpose_b = right.transposed;
  p.m = g.n;
  p.n = g.m;
  p.k = g.k;
  p.batch = g.batch;
  p.a = left.data;
  p.b = right.data;
  p.d = g.out;
  p.ld_a = left.leading;
  p.ld_b = right.leading;
  p.ld_d = std::max(g.m == 1 ? g.n : g.out_row, g.n);
  p.batch_stride_a = left.batch;
  p.batch_stride_b = right.batch;
  p.batch_stride_d = g.out_batch;
  p.beta = accumulate ? 1 : 0;
  return p;
}

}  // namespace

void gemm(CudaBackend& device, const Gemm& g) {
  if (g.m == 0 || g.n == 0 || g.batch == 0) return;
  if (g.batch > kBatch) return multiply_batches(device, g);
  bool accumulate = g.accumulate;
  const bool bias_first = adds_bias_first(g);
  const View out{g.out, {g.batch, g.m, g.n}, {g.out_batch, g.out_row, 1}, g.out_type};
  if (bias_first) {
    const ConstView bias{g.bias, out.shape, {0, 0, 1}, g.out_type};
    if (accumulate) {
      device.binary(BinaryOp::add, out, bias, out);
    } else {
      device.copy(bias, out);
    }
    accumulate = true;
  }
  if (g.k == 0) {
    if (!accumulate) device.fill(out, 0);
    return;
  }
  // A row-major product is the column-major product of the transposes: outᵀ (n, m) = bᵀ (n, k) · aᵀ (k, m).
  const Placed left(device, g.in, g.b, g.b.column, g.b.row, g.n, g.k, g.batch);
  const Placed right(device, g.in, g.a, g.a.column, g.a.row, g.k, g.m, g.batch);
  blas::Product p = product_of(g, left.operand, right.operand, accumulate);
  if (!bias_first) p.bias = g.bias;
  Context& context = device.context();
  const Scratch workspace(context, kWorkspaceBytes);
  ++context.matrix_products;
  const std::string measured_name = profile::on.load(std::memory_order_relaxed) ? profile_name(p) : "";
  const profile::Scope measured(measured_name.c_str(), context.stream);
  blas::multiply(context.blas, p, workspace.data(), workspace.bytes(), context.stream);
}

}  // namespace weft::cuda
