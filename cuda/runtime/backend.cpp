#include "cuda/runtime/backend.h"

#include <atomic>
#include <memory>
#include <mutex>
#include <string>

#include "core/device/backend.h"
#include "cuda/array/gather.h"
#include "cuda/array/pointwise.h"
#include "cuda/array/random.h"
#include "cuda/array/reduce.h"
#include "cuda/conv/conv.h"
#include "cuda/matmul/matmul.h"
#include "cuda/norm/norm.h"
#include "cuda/runtime/context.h"
#include "cuda/runtime/transfer.h"
#include "cuda/spatial/interpolate.h"
#include "cuda/spatial/pool.h"
#include "cuda/train/image_batch.h"
#include "cuda/train/loss.h"
#include "cuda/train/optim.h"
#include "weft/error.h"

namespace weft::cuda {

namespace {

/// A captured graph with the memory that it keeps, made and recorded under the context's lock.
class Graph final : public Replay {
 public:
  explicit Graph(Context& context) : context_(context), memory_(context.memory.begin_graph()) {}
  ~Graph() override {
    const std::lock_guard lock(context_.mutex);
    if (graph_ != nullptr) runtime::destroy_graph(graph_);
    context_.memory.free_graph(memory_);
  }
  void record(const std::function<void()>& fn) {
    runtime::begin_capture(context_.stream);
    try {
      fn();
    } catch (...) {
      runtime::abandon_capture(context_.stream);
      throw;
    }
    graph_ = runtime::end_capture(context_.stream, &nodes_);
    context_.memory.end_graph();
  }
  void run() override {
    const Use use(context_);
    runtime::launch_graph(graph_, context_.stream);
  }
  std::int64_t nodes() const override { return static_cast<std::int64_t>(nodes_); }

 private:
  Context& context_;
  runtime::GraphExec graph_ = nullptr;
  std::size_t nodes_ = 0;
  Memory::GraphId memory_;
};

class CudaBackend final : public Backend {
 public:
  explicit CudaBackend(int device) : context_(context(device)) {}

  bool computes(DType dtype) const override { return dtype != DType::f16; }

  void* allocate(std::size_t bytes) override {
    const Use use(context_);
    return context_.memory.allocate(bytes);
  }
  void deallocate(void* address, std::size_t bytes) noexcept override {
    const std::lock_guard lock(context_.mutex);
    context_.memory.deallocate(address, bytes);
  }
  MemoryStatistics memory_statistics() const override {
    const std::lock_guard lock(context_.mutex);
    return context_.memory.statistics();
  }
  void release_cached_memory() override {
    const Use use(context_);
    context_.memory.release_cached();
  }
  void copy_from_host(void* out, const void* host, std::size_t bytes) override {
    const Use use(context_);
    cuda::copy_from_host(context_, out, host, bytes);
  }
  void copy_to_host(void* host, const void* in, std::size_t bytes) override {
    const Use use(context_);
    cuda::copy_to_host(context_, host, in, bytes);
  }
  void synchronize() override {
    const Use use(context_);
    runtime::synchronize(context_.stream);
  }

  std::unique_ptr<Replay> capture(const std::function<void()>& fn) override {
    const Use use(context_);
    auto graph = std::make_unique<Graph>(context_);
    graph->record(fn);
    return graph;
  }

  void fill(const View& out, Scalar value) override {
    const Use use(context_);
    cuda::fill(context_, out, value);
  }
  void arange(const View& out, Scalar start, Scalar step) override {
    const Use use(context_);
    cuda::arange(context_, out, start, step);
  }
  void copy(const ConstView& in, const View& out) override {
    const Use use(context_);
    cuda::copy(context_, in, out);
  }
  void unary(UnaryOp op, const ConstView& x, const View& out) override {
    const Use use(context_);
    cuda::unary(context_, op, x, out);
  }
  void binary(BinaryOp op, const ConstView& a, const ConstView& b, const View& out) override {
    const Use use(context_);
    cuda::binary(context_, op, a, b, out);
  }
  void where(const ConstView& condition, const ConstView& a, const ConstView& b, const View& out) override {
    const Use use(context_);
    cuda::where(context_, condition, a, b, out);
  }
  void accumulate(const ConstView& in, const View& out) override {
    const Use use(context_);
    cuda::accumulate(context_, in, out);
  }

  void reduce(ReduceOp op, const ConstView& x, const View& out) override {
    const Use use(context_);
    cuda::reduce(context_, op, x, out);
  }
  void arg_reduce(ArgReduceOp op, const ConstView& x, int axis, const View& out) override {
    const Use use(context_);
    cuda::arg_reduce(context_, op, x, axis, out);
  }
  void matmul(const ConstView& a, const ConstView& b, const View& out) override {
    const Use use(context_);
    cuda::matmul(context_, a, b, out);
  }

  void conv(ConvPass pass, const ConvShape& shape, const ConstView& a, const ConstView& b, const ConstView* bias,
            const View& out, const View* bias_grad) override {
    const Use use(context_);
    cuda::conv(context_, pass, shape, a, b, bias, out, bias_grad);
  }
  ConvAlgo conv_algo(ConvPass pass, const ConvShape& shape, DType dtype) const override {
    return cuda::conv_algo(pass, shape, dtype);
  }
  void pool(PoolPass pass, const PoolShape& shape, const ConstView& in, const View& indices, const View& out) override {
    const Use use(context_);
    cuda::pool(context_, pass, shape, in, indices, out);
  }
  void resample(ResamplePass pass, const ResampleShape& shape, const ConstView& in, const View& out) override {
    const Use use(context_);
    cuda::resample(context_, pass, shape, in, out);
  }

  void batch_norm(const ConstView& x, const ConstView& weight, const ConstView& bias, const ConstView& residual,
                  const BatchNormArguments& arguments, const View& y, const View& mean, const View& inverse_std,
                  const View& scale, const View& shift, const View& running_mean, const View& running_var,
                  const View& batches) override {
    const Use use(context_);
    cuda::batch_norm(context_, x, weight, bias, residual, arguments, y, mean, inverse_std, scale, shift, running_mean,
                     running_var, batches);
  }
  void batch_norm_inference(const ConstView& x, const ConstView& weight, const ConstView& bias,
                            const ConstView& running_mean, const ConstView& running_var, const ConstView& residual,
                            const BatchNormArguments& arguments, const View& y) override {
    const Use use(context_);
    cuda::batch_norm_inference(context_, x, weight, bias, running_mean, running_var, residual, arguments, y);
  }
  void batch_norm_grad(const ConstView& y_grad, const ConstView& x, const ConstView& mean, const ConstView& inverse_std,
                       const ConstView& scale, const ConstView& shift, const BatchNormArguments& arguments,
                       const View& x_grad, const View& weight_grad, const View& bias_grad) override {
    const Use use(context_);
    cuda::batch_norm_grad(context_, y_grad, x, mean, inverse_std, scale, shift, arguments, x_grad, weight_grad,
                          bias_grad);
  }

  void softmax(bool log, const ConstView& x, const View& y) override {
    const Use use(context_);
    cuda::softmax(context_, log, x, y);
  }
  void softmax_grad(bool log, const ConstView& y, const ConstView& y_grad, const View& x_grad) override {
    const Use use(context_);
    cuda::softmax_grad(context_, log, y, y_grad, x_grad);
  }
  void cross_entropy(const ConstView& logits, const ConstView& labels, const CrossEntropyArguments& arguments,
                     const View& losses, const View& count) override {
    const Use use(context_);
    cuda::cross_entropy(context_, logits, labels, arguments, losses, count);
  }
  void cross_entropy_grad(const ConstView& logits, const ConstView& labels, const CrossEntropyArguments& arguments,
                          const ConstView& losses_grad, const ConstView& count, const View& logits_grad) override {
    const Use use(context_);
    cuda::cross_entropy_grad(context_, logits, labels, arguments, losses_grad, count, logits_grad);
  }
  void tally(const ConstView& logits, const ConstView& labels, const ConstView& losses, const View& loss_sum,
             const View& hits) override {
    const Use use(context_);
    cuda::tally(context_, logits, labels, losses, loss_sum, hits);
  }

  void random(RandomKind kind, const PhiloxKey& key, Scalar low, Scalar high, const View& out) override {
    const Use use(context_);
    cuda::random(context_, kind, key, low, high, out);
  }
  void image_batch(const ImageBatchArguments& arguments, const ConstView& images, const ConstView& labels,
                   const ConstView& order, const View& clock, const View& out, const View& out_labels) override {
    const Use use(context_);
    cuda::image_batch(context_, arguments, images, labels, order, clock, out, out_labels);
  }

  void sgd(std::span<const OptimizerTensor> tensors, const SgdArguments& arguments,
           const ConstView& learning_rate) override {
    const Use use(context_);
    cuda::sgd(context_, tensors, arguments, learning_rate);
  }
  void adam(std::span<const OptimizerTensor> tensors, const AdamArguments& arguments,
            const ConstView& learning_rate) override {
    const Use use(context_);
    cuda::adam(context_, tensors, arguments, learning_rate);
  }

 private:
  Context& context_;
};

}  // namespace

int device_count() { return runtime::device_count(); }

std::string unavailable_reason() { return runtime::unavailable_reason(); }

std::uint64_t matrix_products(int index) {
  Context& of_index = context(index);
  const std::lock_guard lock(of_index.mutex);
  return of_index.matrix_products;
}

std::string description(int index) {
  const runtime::Properties& p = context(index).properties;
  const auto version = [](int v) { return std::to_string(v / 1000) + "." + std::to_string(v % 1000 / 10); };
  return p.name + ", compute capability " + std::to_string(p.major) + "." + std::to_string(p.minor) + ", " +
         std::to_string(p.memory_bytes >> 20) + " MiB, driver for CUDA " + version(p.driver_version) + ", runtime " +
         version(p.runtime_version) + ", " + blas::description();
}

Backend& backend(int index) {
  constexpr int kMost = 64;
  static std::atomic<CudaBackend*> backends[kMost];  // made at first use, never destroyed
  static std::mutex& mutex = *new std::mutex;
  if (index >= 0 && index < kMost) {
    if (CudaBackend* made = backends[index].load(std::memory_order_acquire)) return *made;
  }
  context(index);  // throws when the device is not available
  if (index >= kMost) throw DeviceError("device cuda:" + std::to_string(index) + ": at most 64 devices are supported");
  const std::lock_guard lock(mutex);
  if (backends[index].load(std::memory_order_relaxed) == nullptr) {
    backends[index].store(new CudaBackend(index), std::memory_order_release);
  }
  return *backends[index].load(std::memory_order_relaxed);
}

}  // namespace weft::cuda
