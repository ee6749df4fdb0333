#pragma once

#include <stdexcept>
#include <string>

namespace weft {

/// Root of every error that weft throws. A call that throws leaves its arguments as they were.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Shapes, axes or sizes that do not fit an op.
class ShapeError : public Error {
 public:
  using Error::Error;
};

/// A dtype that an op does not take.
class DTypeError : public Error {
 public:
  using Error::Error;
};

/// An option or value outside its range.
class ValueError : public Error {
 public:
  using Error::Error;
};

/// An index or offset outside an array.
class IndexError : public Error {
 public:
  using Error::Error;
};

/// A device that is not available, or operands on different devices.
class DeviceError : public Error {
 public:
  using Error::Error;
};

/// Memory that could not be had; the message says how much was asked for and how much is live.
class OutOfMemoryError : public Error {
 public:
  using Error::Error;
};

/// Misuse of the gradient graph: a second backward, a saved value that was modified, no gradient function.
class AutogradError : public Error {
 public:
  using Error::Error;
};

/// A file or folder that is missing or that the system cannot read or write.
class IoError : public Error {
 public:
  using Error::Error;
};

/// A file whose contents break its format.
class FormatError : public Error {
 public:
  using Error::Error;
};

}  // namespace weft
