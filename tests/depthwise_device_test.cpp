// A GPU's depthwise convolution against the same plain loops as the CPU's.
#include <gtest/gtest.h>

#include "tests/conv_on_device.h"
#include "tests/depthwise_cases.h"
#include "tests/device.h"

namespace weft {
namespace {

using namespace depthwise_cases;  // NOLINT(google-build-using-namespace)
using scalar::Bfloat;

/// Elements of 16 aligned bytes are taken together.
void check_all(ConvShape s, const Shifts& shifts) {
  s.algo = ConvAlgo::direct;
  check_passes<float>(s, 1e-6, shifts);
  check_passes<double>(s, 1e-14, shifts);
  check_passes<Bfloat>(s, 4e-3, shifts);
}

TEST(DepthwiseDevice, AgreesWithPlainLoops) {
  WEFT_NEEDS_CUDA();
  for (const ConvShape& s : shapes()) {
    for (const Shifts& shifts : kShifts) check_all(s, shifts);
  }
}

// Several slices of positions, several tiles of channels.
TEST(DepthwiseDevice, ManyPositionsAndChannels) {
  WEFT_NEEDS_CUDA();
  const ConvShape many = make(5, 8, 1, {1, 40, 41}, {1, 3, 3}, {1, 1, 1}, {0, 1, 1});
  const ConvShape wide = make(3, 200, 1, {1, 14, 13}, {1, 3, 3}, {1, 2, 2}, {0, 1, 1});
  check_all(many, {});
  check_all(wide, {});
}

// Filters of many taps, and maps of many positions: more terms than a chain of additions has.
TEST(DepthwiseDevice, SumsOfManyTermsAreAccurate) {
  WEFT_NEEDS_CUDA();
  const Sizes ones{1, 1, 1};
  for (const Terms terms : kTerms) {
    for (ConvShape s : {make(1, 4, 1, {1, 3, 1020}, {1, 2, 1000}, ones, {0, 0, 5}),  // a long filter
                        make(1, 2, 2, {1, 300, 7}, {1, 290, 3}, ones, {0, 0, 1}),    // many lines of three taps
                        make(2, 1, 700, {1, 2, 2}, {1, 2, 2}, ones, {0, 1, 1}),      // many filters of a channel
                        make(1, 64, 1, {1, 90, 91}, {1, 1, 2})}) {
      s.algo = ConvAlgo::direct;
      check_depth(s, terms);
    }
  }
}

}  // namespace
}  // namespace weft
