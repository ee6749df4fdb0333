#pragma once

#include <concepts>
#include <functional>

#include "weft/nn/module.h"

namespace weft::nn {

/// Gives the arrays of `to` the values, dtypes, devices and memory orders of those of `from`, as copies, and its parts
/// the modes, requires_grad and frozen state. Gradients are not copied; those of `to` are forgotten. Throws ValueError
/// where a name is in one of the two only and where both hold one tensor, ShapeError where two shapes differ, having
/// changed nothing.
void copy_state(const Module& from, Module& to);

/// Returns a deep copy of the model: a new one by make(), which has the same structure, with the model's state.
template <std::derived_from<Module> M, std::invocable<> Make>
M clone(const M& model, const Make& make) {
  M copy = std::invoke(make);
  copy_state(model, copy);
  return copy;
}

}  // namespace weft::nn
