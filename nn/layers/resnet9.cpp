#include "weft/nn/resnet9.h"

#include "layers/check.h"
#include "weft/rollback.h"

namespace weft::nn {
namespace {

Sequential narrow(const ResNet9Options& options) {
  const Init init = options.init.value_or(Init::kaiming_uniform);
  const auto block = [&](std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride) {
    return Sequential(Conv(in, out, kernel, {.stride = stride, .algo = options.conv_algo}, {.init = init}),
                      BatchNorm2d(out), ReLU());
  };
  return Sequential(block(options.channels, 16, 7, 4), block(16, 32, 3, 2),
                    Residual(block(32, 32, 3, 1), block(32, 32, 3, 1)),      //
                    block(32, 64, 3, 2), block(64, 128, 3, 2),               //
                    Residual(block(128, 128, 3, 1), block(128, 128, 3, 1)),  //
                    Flatten(), Linear(128, 128, {.init = init}), ReLU(), Linear(128, options.classes, {.init = init}));
}

Sequential full(const ResNet9Options& options) {
  const Init init = options.init.value_or(Init::pytorch);
  const auto block = [&](std::int64_t in, std::int64_t out) {
    return Sequential(Conv(in, out, 3, {.algo = options.conv_algo}, {.bias = false, .init = init}), BatchNorm2d(out),
                      ReLU());
  };
  return Sequential(block(options.channels, 64),                                                //
                    block(64, 128), MaxPool2d(2), Residual(block(128, 128), block(128, 128)),   //
                    block(128, 256), MaxPool2d(2),                                              //
                    block(256, 512), MaxPool2d(2), Residual(block(512, 512), block(512, 512)),  //
                    MaxPool2d(4), Flatten(), Linear(512, options.classes, {.bias = false, .init = init}), Scale(0.125));
}

}  // namespace

Sequential resnet9(const ResNet9Options& options) {
  require_at_least(1, "resnet9", "classes", options.classes);
  require_at_least(1, "resnet9", "channels", options.channels);
  const Rollback as_before;
  return options.variant == ResNet9::narrow ? narrow(options) : full(options);
}

}  // namespace weft::nn
