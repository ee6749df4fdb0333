#include "core/device/conv_reference.h"

#include "cuda/array/element.h"
#include "cuda/array/walk.h"
#include "cuda/conv/algorithms.h"

namespace weft::cuda {
namespace {

constexpr int kThreads = 256;  // of a block; threads share nothing

/// Thread i has element i of the result, of which there are `count`. B is the type of what the pass multiplies by.
template <ConvPass pass, class T, class B, class Out>
WEFT_KERNEL_OF_BLOCKS(kThreads, 2)
conv_reference_kernel(ConvShape s, std::int64_t count, const T* a, const B* b, const compute_t<T>* bias, Out* out) {
  const std::int64_t i = global_thread();
  if (i >= count) return;
  double value = 0;
  if constexpr (pass == ConvPass::forward) value = reference::forward(s, a, b, bias, i);
  if constexpr (pass == ConvPass::input_grad) value = reference::input_grad(s, a, b, i);
  if constexpr (pass == ConvPass::weight_grad) value = reference::weight_grad(s, a, b, i);
  out[i] = narrow<Out>(value);
}

}  // namespace

void conv_reference(Context& context, const ConvCall& call) {
  const ConvShape& shape = call.shape;
  const ConstView &a = call.a, &b = call.b;
  const View& out = call.out;
  dispatch_floating("convolution", a.dtype, [&]<class T>(Type<T>) {
    using P = compute_t<T>;
    const std::int64_t count = out.size();
    const LaunchShape grid{"conv_reference", blocks_for(count, kThreads), kThreads, context.stream};
    const P* const bias_data = call.bias.as<P>();
    switch (call.pass) {
      case ConvPass::forward:
        return launch(grid, conv_reference_kernel<ConvPass::forward, T, P, T>, shape, count, a.as<T>(), b.as<P>(),
                      bias_data, out.as<T>());
      case ConvPass::input_grad:
        return launch(grid, conv_reference_kernel<ConvPass::input_grad, T, P, T>, shape, count, a.as<T>(), b.as<P>(),
                      bias_data, out.as<T>());
      case ConvPass::weight_grad:
        return launch(grid, conv_reference_kernel<ConvPass::weight_grad, T, T, P>, shape, count, a.as<T>(), b.as<T>(),
                      bias_data, out.as<P>());
    }
  });
}

}  // namespace weft::cuda
