#pragma once

#include <concepts>
#include <cstddef>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "weft/tensor.h"

/// Differentiable functions with a backward of their own. Every function of ops.h is made with record(), and so is one
/// outside of weft:
///
///     Tensor cube(const Tensor& x) {
///       Array y = power(x.detach(), 3).array();  // any computation of the values
///       return record("cube", y, {x}, {Save::input("x", 0)},
///                     [](const SavedValues& saved, const Tensor& gradient) {
///                       return std::vector<Tensor>{gradient * 3 * square(saved["x"])};
///                     });
///     }
///
/// The backward is written in differentiable functions, so gradients of gradients follow.
namespace weft {

/// A value that a backward function needs again, under a name: an input, the output, or an array that takes no
/// gradient. The function finds it in SavedValues.
struct Save {
  static constexpr int kOutput = -1;
  static constexpr int kConstant = -2;

  std::string name;
  int source = kConstant;  ///< the index of an input, kOutput or kConstant
  Array array = {};        ///< of a constant

  static Save input(std::string name, int index) { return {std::move(name), index, {}}; }
  static Save output(std::string name) { return {std::move(name), kOutput, {}}; }
  static Save constant(std::string name, Array array) { return {std::move(name), kConstant, std::move(array)}; }
};

/// The saved values of a recorded function, for its backward.
class SavedValues {
 public:
  SavedValues(const std::shared_ptr<Node>& node, const std::vector<bool>& needs) : node_(node), needs_(needs) {}

  /// Returns the saved value of this name with its own history, so that a computation with it can be recorded. Throws
  /// AutogradError when the value was modified since, and when the function saved no value of this name.
  Tensor operator[](std::string_view name) const;
  /// Returns whether the gradient of the i-th input is wanted. The function may return an undefined tensor otherwise.
  /// Throws IndexError when there is no such input.
  bool needs(std::size_t input) const;

 private:
  const std::shared_ptr<Node>& node_;
  const std::vector<bool>& needs_;
};

/// Returns the gradients of the inputs, each of its input's shape, dtype and device, given the gradient of the output.
/// An undefined one counts as 0. A function that holds a Tensor keeps that tensor's history alive, and its own output's
/// for ever: Save is the way to a tensor's value.
using BackwardFunction = std::function<std::vector<Tensor>(const SavedValues& saved, const Tensor& gradient)>;

/// A closure of plain options, which holds no Tensor.
template <class F>
concept PlainBackward = std::is_invocable_r_v < std::vector<Tensor>,
const F&, const SavedValues&, const Tensor& > &&std::is_trivially_destructible_v<F>;

/// A type that is not a BackwardFunction yet.
template <class F>
concept BackwardClosure = !std::same_as<F, BackwardFunction> && !std::same_as<F, std::nullptr_t>;

/// Returns whether a function of these inputs is recorded now: gradients are enabled and one of them requires one.
bool is_recorded(std::initializer_list<Tensor> inputs);

/// Makes the output tensor of a function of `inputs`, which is recorded as is_recorded says. An undefined input takes
/// no gradient. An output of a dtype that is not floating is not recorded. Throws AutogradError, before any gradient
/// changes and naming the function, when `backward` returns another number of gradients than there are inputs, or one
/// that does not match its input. Throws Error on an undefined output, IndexError on a Save of an input that does not
/// exist, ValueError on two of one name and on an empty backward.
Tensor record(std::string_view name, Array output, const std::vector<Tensor>& inputs, const std::vector<Save>& saves,
              BackwardFunction backward);
Tensor record(std::string_view name, Array output, std::initializer_list<Tensor> inputs,
              std::initializer_list<Save> saves, BackwardFunction backward);
/// Throws AutogradError unless there is exactly one output, because a recorded function has one. A function of several
/// differentiable outputs is recorded as one function for each, or as one whose output holds them side by side.
Tensor record(std::string_view name, const std::vector<Array>& outputs, const std::vector<Tensor>& inputs,
              const std::vector<Save>& saves, BackwardFunction backward);

/// Returns the closure as a BackwardFunction. It must be a PlainBackward, which is checked when it is compiled.
template <BackwardClosure F>
BackwardFunction plain_backward(F backward) {
  static_assert(PlainBackward<F>,
                "a backward takes (const SavedValues&, const Tensor&), returns std::vector<Tensor> and captures plain "
                "options only: a captured Tensor would keep its history alive for ever; use Save");
  return backward;
}

/// The same for closures, by plain_backward. A closure that owns memory and holds no Tensor is passed as
/// BackwardFunction(closure).
template <BackwardClosure F>
Tensor record(std::string_view name, Array output, std::initializer_list<Tensor> inputs,
              std::initializer_list<Save> saves, F backward) {
  return record(name, std::move(output), inputs, saves, plain_backward(std::move(backward)));
}
template <BackwardClosure F>
Tensor record(std::string_view name, Array output, const std::vector<Tensor>& inputs, const std::vector<Save>& saves,
              F backward) {
  return record(name, std::move(output), inputs, saves, plain_backward(std::move(backward)));
}

}  // namespace weft
