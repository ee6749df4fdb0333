// Every kernel whose blocks tell each other that they are done (cuda/runtime/launch.h's last_block), in several blocks:
// ctest runs it with WEFT_PTX set and WEFT_PTX_MODE=fences, and the executor leaves out each fence (executor.h).
#include <gtest/gtest.h>

#include "cuda/runtime/context.h"
#include "nn/train/tally.h"
#include "tests/norm_on_device.h"

namespace weft {
namespace {

using namespace norm_on_device;  // NOLINT(google-build-using-namespace)

Tensor draw(const Shape& shape, DType dtype) { return randn(shape, {.device = Device::cuda()}).to(dtype); }

// A device that takes many small blocks.
class PtxFences : public ::testing::Test {
 protected:
  void SetUp() override { multiprocessors_ = 132; }
  void TearDown() override { multiprocessors_ = usual_; }
  // The weight's gradient of few tiles over many rows.
  static void check_weight_grad(DType dtype, Precision precision, std::int64_t in, std::int64_t out,
                                std::int64_t images) {
    const PrecisionGuard guard(precision);
    const Tensor x = draw({images, in, 16, 16}, dtype), y = draw({images, out, 16, 16}, dtype);
    const Tensor found = conv2d_weight_grad(y, x, {out, in, 3, 3}, {.padding = 1, .algo = ConvAlgo::implicit_gemm});
    EXPECT_EQ(found.shape(), (Shape{out, in, 3, 3}));
  }
  // Channels of x and of y that 16 bytes hold and that they do not.
  static void check_channels(DType dtype, Precision precision, std::int64_t images) {
    check_weight_grad(dtype, precision, 8, 8, images);
    check_weight_grad(dtype, precision, 3, 8, images);
    check_weight_grad(dtype, precision, 3, 5, images);
  }
  void check_large_tiles(DType dtype, Precision precision) {
    multiprocessors_ = 8;
    check_weight_grad(dtype, precision, 16, 128, 8);
  }

 private:
  int& multiprocessors_ = cuda::context(0).properties.multiprocessors;
  const int usual_ = multiprocessors_;
};

// More slices of rows than one block merges, of channels that 16 bytes hold and that they do not.
template <class T>
void check_norm() {
  for (const bool relu : {false, true}) {
    check<T>({13000, 64, 0, relu, false});
    check<T>({6000, 63, 0, relu, false});
  }
}
TEST_F(PtxFences, BatchNormInFloat) { check_norm<float>(); }
TEST_F(PtxFences, BatchNormInDouble) { check_norm<double>(); }
TEST_F(PtxFences, BatchNormInBfloat) { check_norm<Bfloat>(); }

TEST_F(PtxFences, WeightGradInFloat) { check_channels(DType::f32, Precision::fp32, 2); }
TEST_F(PtxFences, WeightGradInTf32) { check_channels(DType::f32, Precision::tf32, 8); }
TEST_F(PtxFences, WeightGradInDouble) { check_channels(DType::f64, Precision::fp32, 2); }
TEST_F(PtxFences, WeightGradInBfloat) { check_channels(DType::bf16, Precision::fp32, 8); }
TEST_F(PtxFences, WeightGradInTf32ByLargeTiles) { check_large_tiles(DType::f32, Precision::tf32); }
TEST_F(PtxFences, WeightGradInBfloatByLargeTiles) { check_large_tiles(DType::bf16, Precision::fp32); }

// A warp for each row, and a block for each of more classes.
TEST_F(PtxFences, CrossEntropy) {
  for (const DType dtype : {DType::f32, DType::f64}) {
    for (const std::int64_t classes : {10, 3000}) {
      const Tensor labels = full({70}, 3, {.dtype = DType::i64, .device = Device::cuda()});
      EXPECT_GT(cross_entropy(draw({70, classes}, dtype), labels).to(Device::cpu()).item<double>(), 0);
    }
  }
}

TEST_F(PtxFences, Tally) {
  for (const DType dtype : {DType::f32, DType::f64, DType::bf16}) {
    nn::Tally tally(Device::cuda());
    const Tensor labels = full({3000}, 3, {.dtype = DType::i64, .device = Device::cuda()});
    const Tensor logits = draw({3000, 10}, dtype);
    tally.add(logits, labels, cross_entropy(logits, labels, {.reduction = Reduction::none}));
    tally.count(3000);
    EXPECT_NEAR(tally.metrics().accuracy, 0.1, 0.05);
  }
}

}  // namespace
}  // namespace weft
