#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "core/device/backend.h"
#include "cpu/runtime/denormals.h"

namespace weft::cpu {

/// The CPU's implementation of the device contract. Each family's file defines its methods. Arithmetic is done in the
/// mode of set_flush_denormals; copies and conversions keep every number. Results do not depend on the number of
/// threads.
class CpuBackend final : public Backend {
 public:
  bool computes(DType dtype) const override { return dtype != DType::f16 && dtype != DType::bf16; }
  std::string description() const override;
  ConvAlgo conv_algo(ConvPass pass, const ConvShape& shape, DType dtype) const override;
  bool norms_rows() const override { return true; }

  void* allocate(std::size_t bytes) override;
  void deallocate(void* address, std::size_t bytes) noexcept override;
  MemoryStatistics memory_statistics() const override;
  void release_cached_memory() override;
  void copy_from_host(void* out, const void* host, std::size_t bytes) override;
  void copy_to_host(void* host, const void* in, std::size_t bytes) override;
  void synchronize() override {}
  std::unique_ptr<Replay> capture(const std::function<void()>& fn) override;
  std::uint64_t matrix_products() const override { return 0; }

  void fill(const View& out, Scalar value) override;
  void arange(const View& out, Scalar start, Scalar step) override;
  void copy(const ConstView& in, const View& out) override;
  void unary(UnaryOp op, const ConstView& x, const View& out) override;
  void binary(BinaryOp op, const ConstView& a, const ConstView& b, const View& out) override;
  void where(const ConstView& condition, const ConstView& a, const ConstView& b, const View& out) override;
  void accumulate(const ConstView& in, const View& out) override;
  void gather(const GatherCall& call) override;
  void scatter(const ScatterCall& call) override;

  void reduce(ReduceOp op, const ConstView& x, const View& out) override;
  void arg_reduce(ArgReduceOp op, const ConstView& x, int axis, const View& out) override;
  void cumsum(const ConstView& x, int axis, const View& out) override;
  void argsort(const ConstView& x, int axis, bool descending, const View& indices) override;
  void matmul(const ConstView& a, const ConstView& b, Precision precision, const View& out) override;

  void conv(const ConvCall& call) override;
  void pool(PoolPass pass, const PoolShape& shape, const ConstView& in, const View& indices, const View& out) override;
  void interpolate(InterpolatePass pass, const InterpolateShape& shape, const ConstView& in, const View& out) override;
  void batch_norm(const BatchNormForward& call) override;
  void batch_norm_inference(const BatchNormInference& call) override;
  void batch_norm_grad(const BatchNormGradient& call) override;

  void softmax(bool log, const ConstView& x, const View& y) override;
  void softmax_grad(bool log, const ConstView& y, const ConstView& y_grad, const View& x_grad) override;
  void cross_entropy(const CrossEntropyForward& call) override;
  void cross_entropy_grad(const CrossEntropyGradient& call) override;
  void tally(const TallyCall& call) override;
  void random(RandomKind kind, const PhiloxKey& key, Scalar low, Scalar high, const View& out) override;
  void image_batch(const ImageBatchCall& call) override;
  void sgd(std::span<const OptimizerTensor> tensors, const SgdArguments& arguments,
           const ConstView& learning_rate) override;
  void adam(std::span<const OptimizerTensor> tensors, const AdamArguments& arguments,
            const ConstView& learning_rate) override;

 protected:
  int enter() override { return 0; }
  void leave(int) noexcept override {}
};

/// The one object, never destroyed.
CpuBackend& backend();

}  // namespace weft::cpu
