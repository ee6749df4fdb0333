#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "weft/weft.h"

/// Five steps of training the narrow ResNet9 as scripts/make_golden.py has PyTorch do them; its docstring says how
/// state and batches are generated and what the golden file holds.
namespace weft::trajectory {

inline constexpr int kSteps = 5;
inline constexpr int kProjections = 32;

inline std::uint64_t fnv1a(std::string_view text) {
  std::uint64_t hash = 0xCBF29CE484222325u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  return hash;
}

// Number i of the stream of a hash: splitmix64.
inline std::uint64_t word(std::uint64_t hash, std::uint64_t i) {
  std::uint64_t z = hash + (i + 1) * 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

inline double unit(std::uint64_t w) { return static_cast<double>(w >> 11) * 0x1p-53; }

// centre + scale·(2u - 1), rounded to float as both runs start from the same numbers.
inline Tensor generated(const std::string& name, const Shape& shape, double centre, double scale, DType dtype) {
  std::vector<float> values(static_cast<std::size_t>(element_count(shape)));
  const std::uint64_t hash = fnv1a(name);
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>(centre + scale * (2 * unit(word(hash, i)) - 1));
  return Tensor::from(std::span<const float>(values), shape).to(dtype);
}

inline Tensor labels(int step) {
  std::vector<std::int64_t> values(16);
  const std::uint64_t hash = fnv1a("labels." + std::to_string(step));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<std::int64_t>(10 * unit(word(hash, i)));
  return Tensor::from(std::span<const std::int64_t>(values), {16});
}

inline bool ends_with(const std::string& text, std::string_view end) { return text.ends_with(end); }

inline void set_initial_state(nn::Sequential& model) {
  nn::StateDict state = model.state_dict();
  for (auto& [name, array] : state) {
    const std::string layer = name.substr(0, name.rfind('.') + 1);
    const bool norm = state.contains(layer + "running_mean");
    if (ends_with(name, "num_batches_tracked") || ends_with(name, "running_mean") || ends_with(name, "running_var"))
      continue;
    Tensor value;
    if (norm) {
      value = generated(name, array.shape(), ends_with(name, "weight") ? 1 : 0, 0.1, array.dtype());
    } else {
      const Shape& weight = state.at(layer + "weight").shape();
      const double fan_in = static_cast<double>(element_count(weight)) / static_cast<double>(weight[0]);
      value = generated(name, array.shape(), 0, 1 / std::sqrt(fan_in), array.dtype());
    }
    array = value.array().to(array.device());
  }
  model.load_state_dict(state);
}

// How far a tensor is from the golden one, relative to its scale: the root mean square of 32 differences of projections
// onto random signs estimates the norm of the difference (Johnson and Lindenstrauss 1984).
inline double distance(const std::string& name, const Array& array, const Array& golden) {
  const std::vector<double> values = array.to(DType::f64).to_vector<double>();
  const std::vector<double> expected = golden.to_vector<double>();
  std::vector<double> projections(kProjections, 0.0);
  const std::uint64_t hash = fnv1a("signs." + name);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::uint64_t signs = word(hash, i);
    for (std::size_t j = 0; j < kProjections; ++j) projections[j] += (signs >> j & 1) != 0 ? -values[i] : values[i];
  }
  double square = 0;
  for (std::size_t j = 0; j < kProjections; ++j) square += std::pow(projections[j] - expected[1 + j], 2);
  return std::sqrt(square / kProjections) / expected[1 + kProjections];
}

inline std::unique_ptr<nn::Optimizer> make_optimizer(const std::string& name, const nn::Sequential& model) {
  if (name == "adam")
    return std::make_unique<nn::Adam>(model.parameters(), nn::AdamOptions{.lr = 1e-3, .weight_decay = 1e-3});
  return std::make_unique<nn::SGD>(model.parameters(),
                                   nn::SGDOptions{.lr = 0.05, .momentum = 0.9, .weight_decay = 5e-4, .nesterov = true});
}

inline Tensor batch_loss(nn::Sequential& model, int step, DType dtype, const Device& device = Device::cpu()) {
  const Tensor images = generated("images." + std::to_string(step), {16, 3, 32, 32}, 0, 2, dtype).to(device);
  return cross_entropy(model(images), labels(step).to(device));
}

}  // namespace weft::trajectory
