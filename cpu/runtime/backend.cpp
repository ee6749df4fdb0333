#include "cpu/runtime/backend.h"

#include <cstring>
#include <utility>

#include "core/device/backend.h"
#include "cpu/array/gather.h"
#include "cpu/array/pointwise.h"
#include "cpu/array/random.h"
#include "cpu/array/reduce.h"
#include "cpu/conv/conv.h"
#include "cpu/matmul/matmul.h"
#include "cpu/norm/norm.h"
#include "cpu/runtime/denormals.h"
#include "cpu/runtime/memory.h"
#include "cpu/spatial/interpolate.h"
#include "cpu/spatial/pool.h"
#include "cpu/train/image_batch.h"
#include "cpu/train/loss.h"
#include "cpu/train/optim.h"

namespace weft::cpu {

namespace {

/// Nothing to record: the work is done where it is asked for.
class Calls final : public Replay {
 public:
  explicit Calls(std::function<void()> fn) : fn_(std::move(fn)) {}
  void run() override { fn_(); }
  std::int64_t nodes() const override { return 0; }

 private:
  std::function<void()> fn_;
};

/// Arithmetic is done in the mode of set_flush_denormals; copies and conversions keep every number.
class CpuBackend final : public Backend {
 public:
  bool computes(DType dtype) const override { return dtype != DType::f16 && dtype != DType::bf16; }

  void* allocate(std::size_t bytes) override { return cpu::allocate(bytes); }
  void deallocate(void* address, std::size_t bytes) noexcept override { cpu::deallocate(address, bytes); }
  MemoryStatistics memory_statistics() const override { return cpu::memory_statistics(); }
  void release_cached_memory() override { cpu::release_cached_memory(); }
  void copy_from_host(void* out, const void* host, std::size_t bytes) override { std::memcpy(out, host, bytes); }
  void copy_to_host(void* host, const void* in, std::size_t bytes) override { std::memcpy(host, in, bytes); }
  void synchronize() override {}
  std::unique_ptr<Replay> capture(const std::function<void()>& fn) override { return std::make_unique<Calls>(fn); }

  void fill(const View& out, Scalar value) override {
    const DenormalMode keeps(false);
    cpu::fill(out, value);
  }
  void arange(const View& out, Scalar start, Scalar step) override {
    const DenormalMode keeps(false);
    cpu::arange(out, start, step);
  }
  void copy(const ConstView& in, const View& out) override {
    const DenormalMode keeps(false);
    cpu::copy(in, out);
  }
  void unary(UnaryOp op, const ConstView& x, const View& out) override {
    const DenormalMode mode;
    cpu::unary(op, x, out);
  }
  void binary(BinaryOp op, const ConstView& a, const ConstView& b, const View& out) override {
    const DenormalMode mode;
    cpu::binary(op, a, b, out);
  }
  void where(const ConstView& condition, const ConstView& a, const ConstView& b, const View& out) override {
    const DenormalMode mode;
    cpu::where(condition, a, b, out);
  }
  void accumulate(const ConstView& in, const View& out) override {
    const DenormalMode mode;
    cpu::accumulate(in, out);
  }

  void reduce(ReduceOp op, const ConstView& x, const View& out) override {
    const DenormalMode mode;
    cpu::reduce(op, x, out);
  }
  void arg_reduce(ArgReduceOp op, const ConstView& x, int axis, const View& out) override {
    const DenormalMode mode;
    cpu::arg_reduce(op, x, axis, out);
  }
  void matmul(const ConstView& a, const ConstView& b, const View& out) override {
    const DenormalMode mode;
    cpu::matmul(a, b, out);
  }

  void conv(ConvPass pass, const ConvShape& shape, const ConstView& a, const ConstView& b, const ConstView* bias,
            const View& out, const View* bias_grad) override {
    const DenormalMode mode;
    cpu::conv(pass, shape, a, b, bias, out, bias_grad);
  }
  ConvAlgo conv_algo(ConvPass pass, const ConvShape& shape, DType dtype) const override {
    return cpu::conv_algo(pass, shape, dtype);
  }
  void pool(PoolPass pass, const PoolShape& shape, const ConstView& in, const View& indices, const View& out) override {
    const DenormalMode mode;
    cpu::pool(pass, shape, in, indices, out);
  }
  void resample(ResamplePass pass, const ResampleShape& shape, const ConstView& in, const View& out) override {
    const DenormalMode mode;
    cpu::resample(pass, shape, in, out);
  }

  void batch_norm(const ConstView& x, const ConstView& weight, const ConstView& bias, const ConstView& residual,
                  const BatchNormArguments& arguments, const View& y, const View& mean, const View& inverse_std,
                  const View& scale, const View& shift, const View& running_mean, const View& running_var,
                  const View& batches) override {
    const DenormalMode mode;
    cpu::batch_norm(x, weight, bias, residual, arguments, y, mean, inverse_std, scale, shift, running_mean, running_var,
                    batches);
  }
  bool norms_rows() const override { return true; }
  void batch_norm_inference(const ConstView& x, const ConstView& weight, const ConstView& bias,
                            const ConstView& running_mean, const ConstView& running_var, const ConstView& residual,
                            const BatchNormArguments& arguments, const View& y) override {
    const DenormalMode mode;
    cpu::batch_norm_inference(x, weight, bias, running_mean, running_var, residual, arguments, y);
  }
  void batch_norm_grad(const ConstView& y_grad, const ConstView& x, const ConstView& mean, const ConstView& inverse_std,
                       const ConstView& scale, const ConstView& shift, const BatchNormArguments& arguments,
                       const View& x_grad, const View& weight_grad, const View& bias_grad) override {
    const DenormalMode mode;
    cpu::batch_norm_grad(y_grad, x, mean, inverse_std, scale, shift, arguments, x_grad, weight_grad, bias_grad);
  }

  void softmax(bool log, const ConstView& x, const View& y) override {
    const DenormalMode mode;
    cpu::softmax(log, x, y);
  }
  void softmax_grad(bool log, const ConstView& y, const ConstView& y_grad, const View& x_grad) override {
    const DenormalMode mode;
    cpu::softmax_grad(log, y, y_grad, x_grad);
  }
  void cross_entropy(const ConstView& logits, const ConstView& labels, const CrossEntropyArguments& arguments,
                     const View& losses, const View& count) override {
    const DenormalMode mode;
    cpu::cross_entropy(logits, labels, arguments, losses, count);
  }
  void cross_entropy_grad(const ConstView& logits, const ConstView& labels, const CrossEntropyArguments& arguments,
                          const ConstView& losses_grad, const ConstView& count, const View& logits_grad) override {
    const DenormalMode mode;
    cpu::cross_entropy_grad(logits, labels, arguments, losses_grad, count, logits_grad);
  }
  void tally(const ConstView& logits, const ConstView& labels, const ConstView& losses, const View& loss_sum,
             const View& hits) override {
    const DenormalMode mode;
    cpu::tally(logits, labels, losses, loss_sum, hits);
  }

  void random(RandomKind kind, const PhiloxKey& key, Scalar low, Scalar high, const View& out) override {
    const DenormalMode mode;
    cpu::random(kind, key, low, high, out);
  }

  void image_batch(const ImageBatchArguments& arguments, const ConstView& images, const ConstView& labels,
                   const ConstView& order, const View& clock, const View& out, const View& out_labels) override {
    const DenormalMode mode;
    cpu::image_batch(arguments, images, labels, order, clock, out, out_labels);
  }

  void sgd(std::span<const OptimizerTensor> tensors, const SgdArguments& arguments,
           const ConstView& learning_rate) override {
    const DenormalMode mode;
    cpu::sgd(tensors, arguments, learning_rate);
  }
  void adam(std::span<const OptimizerTensor> tensors, const AdamArguments& arguments,
            const ConstView& learning_rate) override {
    const DenormalMode mode;
    cpu::adam(tensors, arguments, learning_rate);
  }
};

}  // namespace

Backend& backend() {
  static Backend& instance = *new CpuBackend;
  return instance;
}

}  // namespace weft::cpu
