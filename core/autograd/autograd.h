#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "weft/function.h"
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

/// What a gradient has in common with its tensor.
struct GradientForm {
  Shape shape;
  DType dtype = DType::f32;
  Device device = Device::cpu();
};

/// Where a gradient flows on: to the node that made an input, to a leaf, or nowhere.
struct Edge {
  std::shared_ptr<Node> node;
  std::shared_ptr<TensorState> leaf;
  GradientForm form = {};  // of the gradient that flows along it
  explicit operator bool() const { return node != nullptr || leaf != nullptr; }
  /// Identity of the tensor behind the edge.
  const void* target() const { return node ? static_cast<const void*>(node.get()) : leaf.get(); }
};

/// The edge that gradients of `tensor` flow along; none when it requires no gradient.
Edge edge_of(const Tensor& tensor);

/// One recorded op. It holds no value but the saved ones, so an activation dies when nothing needs it.
class Node {
 public:
  struct Saved {
    Save what;
    std::uint64_t version;
  };

  Node(std::string_view function_name, std::vector<Edge> edges, std::vector<Saved> values, BackwardFunction function);
  /// Lets go of the nodes before it one by one: a chain of a million nodes does not recurse. Allocates nothing.
  ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  /// Frees what backward needed, and the way to the inputs.
  void release();
  bool released() const { return backward == nullptr; }

  std::string name;
  std::uint64_t sequence;  // larger than that of every input's node
  std::vector<Edge> inputs;
  std::vector<Saved> saved;
  BackwardFunction backward;

 private:
  std::shared_ptr<Node> next_;  // in the list of nodes that wait for their end
};

}  // namespace weft
