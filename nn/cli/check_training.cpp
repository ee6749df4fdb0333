#include "cli/check.h"
#include "cli/check_narrow.h"

// Optimizers, recorded steps and whole training steps: cuda/train/optim.cu, cuda/train/image_batch.cu, and all of the
// above together.

namespace weft::cli::check {

namespace {

/// All numbers of all tensors in a row, as f32: one result with one norm.
Tensor joined(const Tensors& tensors) {
  Tensors rows;
  for (const Tensor& tensor : tensors) rows.push_back(tensor.detach().to(DType::f32).reshape({-1}));
  return concatenate(rows);
}

Tensor joined_gradients(const Tensors& parameters) {
  Tensors gradients;
  for (const Tensor& parameter : parameters) gradients.push_back(parameter.grad());
  return joined(gradients);
}

Family optimizer_family() {
  Family family{"optimizers", {}};
  using Make = std::function<std::unique_ptr<nn::Optimizer>(Tensors)>;
  const auto add = [&family](const char* what, DType dtype, const Make& make) {
    family.cases.push_back(
        {std::string(what) + " " + std::string(name(dtype)), bound_of(dtype), [make, dtype](const Device& device) {
           Tensors parameters = {draw_leaf({1003}, dtype, device, 1), draw_leaf({7, 5}, dtype, device, 2)};
           const auto optimizer = make(parameters);
           for (unsigned step = 0; step < 3; ++step) {
             for (Tensor& p : parameters) p.set_grad(draw(p.shape(), dtype, device, 3 + step));
             optimizer->step();
           }
           return parameters;
         }});
  };
  for (const DType dtype : {DType::f32, DType::f64}) {
    add("SGD", dtype, [](Tensors p) { return std::make_unique<nn::SGD>(std::move(p), nn::SGDOptions{.lr = 0.125}); });
    add("SGD with Nesterov's momentum", dtype, [](Tensors p) {
      return std::make_unique<nn::SGD>(
          std::move(p), nn::SGDOptions{.lr = 0.1, .momentum = 0.9, .weight_decay = 5e-4, .nesterov = true});
    });
    add("SGD with the rate inside", dtype, [](Tensors p) {
      return std::make_unique<nn::SGD>(
          std::move(p), nn::SGDOptions{.lr = 0.1, .momentum = 0.9, .weight_decay = 5e-4, .buffer_holds_steps = true});
    });
    add("Adam", dtype, [](Tensors p) {
      return std::make_unique<nn::Adam>(std::move(p), nn::AdamOptions{.lr = 0.01, .weight_decay = 1e-3});
    });
    add("AdamW", dtype,
        [](Tensors p) { return std::make_unique<nn::AdamW>(std::move(p), nn::AdamWOptions{.lr = 0.01}); });
  }
  return family;
}

/// The parameters of a small network after four steps, the second of which a GPU records.
Tensors trained(const Device& device, bool graph) {
  manual_seed(3);
  nn::Sequential model(nn::Conv(3, 8, 3, {.stride = 2}), nn::BatchNorm2d(8), nn::ReLU(), nn::MaxPool2d(2),
                       nn::Flatten(), nn::Dropout(0.25), nn::Linear(32, 5));
  model.to(device);
  nn::SGD optimizer(model.parameters(), {.lr = 0.01, .momentum = 0.9});
  const Tensor images = draw({12, 3, 8, 8}, DType::f32, device, 4), labels = draw_labels({12}, 5, device, 5);
  StepGraph steps(device, graph);
  for (int step = 0; step < 4; ++step) {
    steps.run([&] {
      optimizer.zero_grad();
      cross_entropy(model(images), labels).backward();
      optimizer.step();
    });
  }
  if (graph && device.is_cuda() && !steps.is_captured()) throw Error("the step was not recorded");
  return model.parameters();
}

Family recorded_family() {
  Family family{"recorded steps", {}};
  family.cases.push_back(
      {"a network's parameters", 1e-4, [](const Device& device) { return Tensors{joined(trained(device, true))}; }});
  family.cases.push_back({"beside ordinary steps", kBits,
                          [](const Device& device) {
                            return Tensors{equal(joined(trained(device, true)), joined(trained(device, false)))};
                          },
                          true});
  return family;
}

/// One epoch of two steps: batches with their crops and flips, the metrics, the recipe's rates.
Tensors epoch(const Device& device) {
  manual_seed(6);
  nn::Sequential model = nn::resnet9({.variant = nn::ResNet9::narrow});
  model.to(device);
  nn::Recipe recipe = nn::Recipe::make(nn::Recipe::Kind::adam);
  recipe.batch_size = 16;
  recipe.epochs = 1;
  const nn::ImageDataset images = nn::builtin_images(nn::Split::train, 32);
  nn::Trainer trainer(model, images, {.recipe = recipe, .seed = 7, .device = device});
  const nn::Metrics metrics = trainer.run_epoch();
  const double numbers[] = {metrics.loss, metrics.accuracy};
  return {joined(model.parameters()), Tensor::from(std::span<const double>(numbers), {2})};
}

Tensors resnet9_as_it_is(const Device& device) {
  manual_seed(8);
  nn::Sequential model = nn::resnet9({.variant = nn::ResNet9::narrow});
  model.to(device);
  const Tensor images = draw({kNarrowBatch, 3, 32, 32}, DType::f32, device, 9);
  const Tensor loss = cross_entropy(model(images), draw_labels({kNarrowBatch}, 10, device, 10));
  loss.backward();
  return {loss.detach(), joined_gradients(model.parameters())};
}

Tensors resnet9_by(NarrowResNet9::Way way, const Device& device) {
  NarrowResNet9 network(device);
  const std::uint64_t before = work_statistics(device).matrix_products;
  const Tensor loss = network.step(way);
  const std::uint64_t products = work_statistics(device).matrix_products - before;
  if (way == NarrowResNet9::Way::im2col && device.is_cuda() && products != NarrowResNet9::kProducts) {
    throw Error(std::to_string(products) + " products went to cuBLASLt where " +
                std::to_string(NarrowResNet9::kProducts) + " are expected");
  }
  return {loss, joined_gradients(network.parameters())};
}

Family resnet9_family() {
  Family family{"training steps of ResNet9", {}};
  struct Row {
    const char* name;
    Precision precision;
    double bound;
  };
  // Normalisation over a batch of 8 magnifies what the products round: tf32 is off by 0.06, bf16 by 0.21.
  static constexpr Row kRows[] = {
      {"fp32", Precision::fp32, 1e-4}, {"tf32", Precision::tf32, 0.15}, {"bf16", Precision::bf16, 0.45}};
  const auto add = [&family](const char* what, const Row& row, Tensors (*f)(const Device&)) {
    family.cases.push_back({std::string(what) + " " + row.name, row.bound,
                            [&row, f](const Device& device) {
                              const PrecisionGuard guard(device.is_cpu() ? Precision::fp32 : row.precision);
                              return f(device);
                            },
                            row.precision != Precision::fp32});
  };
  for (const Row& row : kRows) {
    add("as it is", row, resnet9_as_it_is);
    add("by im2col and cuBLASLt", row,
        [](const Device& device) { return resnet9_by(NarrowResNet9::Way::im2col, device); });
  }
  // Its bf16 products would round to bf16 before they are added.
  add("by composed convolutions", kRows[0],
      [](const Device& d) { return resnet9_by(NarrowResNet9::Way::composed, d); });
  family.cases.push_back({"an epoch of the trainer fp32", 1e-3, epoch});
  return family;
}

}  // namespace

void add_training(std::vector<Family>& families) {
  families.push_back(optimizer_family());
  families.push_back(recorded_family());
  families.push_back(resnet9_family());
}

}  // namespace weft::cli::check
