#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "weft/tensor.h"

namespace weft {

/// What a tensor's handles share. A leaf has no node; `alias_of` marks a leaf's saved value, whose gradient belongs to
/// that leaf.
struct TensorState {
  Array array;
  Tensor grad;
  bool requires_grad = false;
  std::shared_ptr<Node> node;
  std::shared_ptr<TensorState> alias_of;
};

/// Returns the state that the tensor's handles share; null for an undefined one.
const std::shared_ptr<TensorState>& state_of(const Tensor& tensor);

/// Where a gradient flows on: to the node that made an input, to a leaf, or nowhere.
struct Edge {
  std::shared_ptr<Node> node;
  std::shared_ptr<TensorState> leaf;
  explicit operator bool() const { return node != nullptr || leaf != nullptr; }
  /// Identity of the tensor behind the edge.
  const void* target() const { return node ? static_cast<const void*>(node.get()) : leaf.get(); }
};

/// The edge that gradients of `tensor` flow along; none when it requires no gradient.
Edge edge_of(const Tensor& tensor);

/// What a backward function needs again, by a name of its own: an input, the output, or an array that takes no
/// gradient. The name must be a literal.
struct Save {
  static constexpr int kOutput = -1;
  static constexpr int kConstant = -2;

  std::string_view name;
  int source = kConstant;  // index of an input, kOutput or kConstant
  Array array;

  static Save input(std::string_view name, int index) { return {name, index, {}}; }
  static Save output(std::string_view name) { return {name, kOutput, {}}; }
  static Save constant(std::string_view name, Array array) { return {name, kConstant, std::move(array)}; }
};

/// What a backward function sees of its node.
class SavedValues {
 public:
  SavedValues(const std::shared_ptr<Node>& node, const std::vector<bool>& needs) : node_(node), needs_(needs) {}

  /// The saved value of this name with its own edges, so that what is computed from it can be recorded. Throws
  /// AutogradError when it was modified since, or when the op saved none of this name.
  Tensor operator[](std::string_view name) const;
  /// Whether the gradient of the i-th input is wanted; the function may return an undefined tensor otherwise.
  bool needs(std::size_t input) const { return needs_[input]; }

 private:
  const std::shared_ptr<Node>& node_;
  const std::vector<bool>& needs_;
};

/// Gradients of the inputs, given the gradient of the output. Written in the public ops; captures plain options only,
/// never tensors.
using BackwardFunction = std::function<std::vector<Tensor>(const SavedValues& saved, const Tensor& gradient)>;

/// One recorded op. It holds no value but the saved ones, so an activation dies when nothing needs it.
class Node {
 public:
  struct Saved {
    Save what;
    std::uint64_t version;
  };

  Node(std::string_view op, std::vector<Edge> edges, std::vector<Saved> values, BackwardFunction function);
  /// Lets go of the nodes before it one by one: a chain of a million nodes does not recurse. Allocates nothing.
  ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  /// Frees what backward needed, and the way to the inputs.
  void release();
  bool released() const { return backward == nullptr; }

  std::string_view name;
  std::uint64_t sequence;  // larger than that of every input's node
  std::vector<Edge> inputs;
  std::vector<Saved> saved;
  BackwardFunction backward;

 private:
  std::shared_ptr<Node> next_;  // in the list of nodes that wait for their end
};

/// Makes the output tensor of an op, recorded when gradients are enabled and an input requires one. `name` must be a
/// literal.
Tensor record(std::string_view name, Array output, std::initializer_list<Tensor> inputs,
              std::initializer_list<Save> saves, BackwardFunction backward);
Tensor record(std::string_view name, Array output, const std::vector<Tensor>& inputs, const std::vector<Save>& saves,
              BackwardFunction backward);

/// True when an op with these inputs would be recorded.
bool is_recorded(std::initializer_list<Tensor> inputs);

}  // namespace weft
