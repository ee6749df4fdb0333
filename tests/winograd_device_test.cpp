// A GPU's Winograd convolutions against plain loops.
#include <gtest/gtest.h>

#include "tests/conv_on_device.h"
#include "tests/device.h"
#include "tests/winograd_reference.h"
#include "weft/ops.h"
#include "weft/random.h"

namespace weft {
namespace {

void check_all(ConvShape s, const Shifts& shifts) {
  s.algo = ConvAlgo::winograd;
  check_passes<float>(s, 1e-5, shifts);
  check_passes<double>(s, 1e-12, shifts);
}

TEST(WinogradDevice, AgreesWithPlainLoops) {
  WEFT_NEEDS_CUDA();
  for (const ConvShape& s : winograd_shapes()) check_all(s, {});
}

TEST(WinogradDevice, OperandsOffSixteenBytes) {
  WEFT_NEEDS_CUDA();
  for (const ConvShape& s : {winograd_shape(2, 16, 32, {4, 4}, {1, 1}), winograd_shape(3, 5, 6, {9, 7}, {1, 2})}) {
    for (const Shifts& shifts : kShifts) check_all(s, shifts);
    check_all(s, {2, 2, 2});
  }
}

// More tiles and columns than are kept at a time. The twin on the CPU keeps less
// memory, so small convolutions already have several chunks there.
TEST(WinogradDevice, LargeConvolutionsAgreeWithOtherAlgorithms) {
  WEFT_NEEDS_A_REAL_GPU();
  const Shape x_shape{97, 64, 34, 31}, weight_shape{72, 64, 3, 3};
  for (const auto& [dtype, tolerance] :
       std::vector<std::pair<DType, double>>{{DType::f32, 2e-5}, {DType::f64, 1e-12}}) {
    manual_seed(7);
    const TensorOptions options{.dtype = dtype, .device = Device::cuda()};
    const Tensor x = randn(x_shape, options), weight = randn(weight_shape, options);
    const Tensor bias = randn({72}, options), g = randn({97, 72, 34, 31}, options);
    std::vector<Tensor> kept;  // so that no result takes the memory of one before
    const auto results = [&](ConvAlgo algo) {
      const Conv2dOptions conv{.padding = 1, .algo = algo};
      std::vector<std::vector<double>> all;
      for (const Tensor& t : {conv2d(x, weight, bias, conv), conv2d_input_grad(g, weight, x_shape, conv),
                              conv2d_weight_grad(g, x, weight_shape, conv)}) {
        all.push_back(t.to(DType::f64).to_vector<double>());
        kept.push_back(t);
      }
      return all;
    };
    const auto expected = results(ConvAlgo::im2col);
    for (const ConvAlgo algo : {ConvAlgo::winograd, ConvAlgo::implicit_gemm}) {
      const auto found = results(algo);
      for (std::size_t i = 0; i < found.size(); ++i) {
        EXPECT_LE(relative_error(found[i], expected[i]), tolerance)
            << name(algo) << " " << name(dtype) << " result " << i;
      }
    }
  }
}

}  // namespace
}  // namespace weft
