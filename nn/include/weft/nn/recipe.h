#pragma once

#include <memory>
#include <string>

#include "weft/nn/data.h"
#include "weft/nn/optim.h"
#include "weft/nn/resnet9.h"
#include "weft/nn/schedule.h"

namespace weft::nn {

/// How to train: everything but the model and the data. docs/recipes.md has the sources.
struct Recipe {
  enum class Kind {
    adam,       ///< CMU's: Adam 1e-3, weight decay 1e-3, batch 128, flip and crop by 3, 10 epochs
    dawnbench,  ///< David Page's: Nesterov SGD with the rate inside the buffer, a triangle peaking at 0.4, batch 512,
                ///< flip, reflected crop by 4, cutout 8, 24 epochs
  };
  Kind kind = Kind::adam;
  std::int64_t epochs = 10;
  std::int64_t batch_size = 128;
  double peak_lr = 1e-3;  ///< dawnbench: of the mean loss; the summed loss gets it divided by the batch size
  bool drop_last = false;
  bool sum_loss = false;
  Augmentation augmentation = {};

  static Recipe make(Kind kind);
  /// The rate as a function of fractional epochs.
  Schedule schedule() const;
  std::unique_ptr<Optimizer> optimizer(std::vector<Tensor> parameters) const;
};

}  // namespace weft::nn
