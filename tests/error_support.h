#pragma once

#include <gtest/gtest.h>

#include <string>
#include <typeinfo>

#include "weft/ops.h"

namespace weft {

/// Expects exactly this error, of exactly this type.
template <class E, class F>
void expect_error(const std::string& message, const F& f) {
  try {
    f();
    ADD_FAILURE() << "nothing was thrown; expected " << message;
  } catch (const E& error) {
    EXPECT_EQ(typeid(error), typeid(E)) << error.what();
    EXPECT_EQ(error.what(), message);
  } catch (const std::exception& error) {
    ADD_FAILURE() << "another type: " << error.what() << "; expected " << message;
  }
}

/// A view of one element.
inline Tensor of_size(const Shape& shape) { return expand(zeros(Dims::filled(shape.rank(), 1)), shape); }

}  // namespace weft
