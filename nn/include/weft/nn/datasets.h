#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "weft/ops.h"
#include "weft/random.h"

namespace weft::nn {

/// What a data set gives for one index: a Tensor, or an aggregate of Tensors of any dtypes and shapes.
template <class T>
concept Sample = std::same_as<T, Tensor> || std::is_aggregate_v<T>;

template <class D>
concept RandomDataset = requires(const D& dataset, std::int64_t index, Generator& generator) {
  { dataset.get(index, generator) } -> Sample;
};
template <class D>
concept FixedDataset = requires(const D& dataset, std::int64_t index) {
  { dataset.get(index) } -> Sample;
};

/// A number of samples: `size() const`, and `get(index, generator) const` or `get(index) const` for an index in [0,
/// size()). Several threads may call both at once. Random choices are drawn from the generator alone.
template <class D>
concept Dataset = requires(const D& dataset) {
  { dataset.size() } -> std::convertible_to<std::int64_t>;
}
&&(RandomDataset<D> || FixedDataset<D>);

/// Sample `index` of a data set of either form. One that draws nothing leaves the generator as it was.
template <Dataset D>
auto get_sample(const D& dataset, std::int64_t index, Generator& generator) {
  if constexpr (RandomDataset<D>)
    return dataset.get(index, generator);
  else
    return dataset.get(index);
}

/// Throws IndexError unless `index` is in [0, size).
void check_sample_index(const std::string& dataset, std::int64_t index, std::int64_t size);
/// Throws ShapeError unless all have a first axis, of one size, which it returns.
std::int64_t common_first_size(const std::vector<Tensor>& tensors);
/// The indices of the parts of random_split.
std::vector<std::vector<std::int64_t>> random_split_indices(std::int64_t size, const std::vector<std::int64_t>& lengths,
                                                            std::uint64_t seed);

/// Tensors in memory whose first axis counts the samples. Sample i holds view i of each.
template <std::size_t N>
class TensorDataset {
 public:
  /// Throws ShapeError where a tensor has no axis, or their first axes differ.
  template <std::same_as<Tensor>... Tensors>
  requires(sizeof...(Tensors) == N) explicit TensorDataset(const Tensors&... tensors)
      : tensors_{tensors...}, size_(common_first_size({tensors...})) {}

  std::int64_t size() const { return size_; }
  /// Throws IndexError unless the index is in [0, size()).
  std::array<Tensor, N> get(std::int64_t index) const {
    check_sample_index("TensorDataset", index, size_);
    std::array<Tensor, N> sample;
    for (std::size_t i = 0; i < N; ++i) sample[i] = tensors_[i].select(0, index);
    return sample;
  }

 private:
  std::array<Tensor, N> tensors_;
  std::int64_t size_;
};

template <std::same_as<Tensor>... Tensors>
TensorDataset(const Tensors&...) -> TensorDataset<sizeof...(Tensors)>;

/// The samples of another data set that a list names, in the list's order. The other data set must outlive it.
template <Dataset D>
class Subset {
 public:
  /// Throws IndexError where an index is not one of the data set.
  Subset(const D& dataset, std::vector<std::int64_t> indices) : dataset_(&dataset), indices_(std::move(indices)) {
    for (const std::int64_t index : indices_) check_sample_index("Subset", index, dataset.size());
  }
  Subset(D&& dataset, std::vector<std::int64_t> indices) = delete;

  std::int64_t size() const { return static_cast<std::int64_t>(indices_.size()); }
  const std::vector<std::int64_t>& indices() const { return indices_; }
  /// Throws IndexError unless the index is in [0, size()).
  auto get(std::int64_t index, Generator& generator) const {
    check_sample_index("Subset", index, size());
    return get_sample(*dataset_, indices_[static_cast<std::size_t>(index)], generator);
  }

 private:
  const D* dataset_;
  std::vector<std::int64_t> indices_;
};

/// Cuts a data set into disjoint parts of the given lengths. A shuffle by the seed decides which samples each has.
/// Throws ValueError unless the lengths are not negative and add up to the data set's size. The data set must outlive
/// the parts.
template <Dataset D>
std::vector<Subset<D>> random_split(const D& dataset, const std::vector<std::int64_t>& lengths,
                                    std::uint64_t seed = 0) {
  std::vector<Subset<D>> parts;
  for (auto& indices : random_split_indices(dataset.size(), lengths, seed))
    parts.emplace_back(dataset, std::move(indices));
  return parts;
}
template <Dataset D>
std::vector<Subset<D>> random_split(const D&& dataset, const std::vector<std::int64_t>& lengths,
                                    std::uint64_t seed = 0) = delete;

/// The samples of several data sets that give one type, one data set after another. They must outlive it.
template <Dataset... Parts>
requires(sizeof...(Parts) >= 2) class ConcatDataset {
 public:
  /// Takes the data sets themselves. A temporary data set is refused.
  explicit ConcatDataset(std::reference_wrapper<const Parts>... parts) : parts_{&parts.get()...} {}

  std::int64_t size() const {
    return std::apply([](const auto*... part) { return (static_cast<std::int64_t>(part->size()) + ...); }, parts_);
  }
  /// Throws IndexError unless the index is in [0, size()).
  auto get(std::int64_t index, Generator& generator) const {
    check_sample_index("ConcatDataset", index, size());
    return get_from<0>(index, generator);
  }

 private:
  template <std::size_t I>
  auto get_from(std::int64_t index, Generator& generator) const {
    const auto& part = *std::get<I>(parts_);
    if constexpr (I + 1 < sizeof...(Parts)) {
      if (index >= part.size()) return get_from<I + 1>(index - part.size(), generator);
    }
    return get_sample(part, index, generator);
  }

  std::tuple<const Parts*...> parts_;
};

template <class... Parts>
ConcatDataset(const Parts&...) -> ConcatDataset<Parts...>;

}  // namespace weft::nn
