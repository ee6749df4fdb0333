#include "weft/nn/recipe.h"

namespace weft::nn {

Recipe Recipe::make(Kind kind) {
  Recipe r;
  r.kind = kind;
  if (kind == Kind::adam) {
    r.augmentation = {.crop_padding = 3, .flip = true};
    return r;
  }
  r.epochs = 24;
  r.batch_size = 512;
  r.peak_lr = 0.4;
  r.drop_last = true;
  r.sum_loss = true;
  r.augmentation = {.crop_padding = 4, .reflect = true, .flip = true, .cutout = 8};
  return r;
}

Schedule Recipe::schedule() const {
  if (kind == Kind::adam) return Schedule::constant(peak_lr);
  const double peak = peak_lr / static_cast<double>(batch_size), end = static_cast<double>(epochs);
  return Schedule::piecewise_linear({{0, 0}, {end * 5 / 24, peak}, {end, 0}});
}

std::unique_ptr<Optimizer> Recipe::optimizer(std::vector<Tensor> parameters) const {
  if (kind == Kind::adam)
    return std::make_unique<Adam>(std::move(parameters), AdamOptions{.lr = peak_lr, .weight_decay = 1e-3});
  const SGDOptions options{.lr = 0,
                           .momentum = 0.9,
                           .weight_decay = 5e-4 * static_cast<double>(batch_size),
                           .nesterov = true,
                           .buffer_holds_steps = true};
  return std::make_unique<SGD>(std::move(parameters), options);
}

}  // namespace weft::nn
