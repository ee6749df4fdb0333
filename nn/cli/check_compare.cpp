#include "cli/check_compare.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>

namespace weft::cli::check {

Outcome run_case(const Case& c, const Device& device) {
  Outcome outcome;
  try {
    for (const Tensor& result : c.run(device)) outcome.results.push_back(result.array().to(Device::cpu()).contiguous());
  } catch (const std::exception& error) {
    outcome.results.clear();
    outcome.error = error.what();
    if (outcome.error.empty()) outcome.error = "an error without a text";
  }
  return outcome;
}

namespace {

std::vector<double> numbers(const Array& array) { return array.to(DType::f64).to_vector<double>(); }

/// The norm of the difference as a share of the norm of what is expected, or of 0.1 where that is less.
double distance(const Array& found, const Array& expected, bool bits) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (found.shape() != expected.shape()) return kInfinity;
  // What a GPU computes in bf16, the CPU computed in f32.
  const std::vector<double> a = numbers(found),
                            b = numbers(found.dtype() == DType::bf16 ? expected.to(DType::bf16) : expected);
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const bool same = a[i] == b[i] && (!bits || std::signbit(a[i]) == std::signbit(b[i]));
    if (same || (std::isnan(a[i]) && std::isnan(b[i]))) {
      if (std::isfinite(b[i])) norm += b[i] * b[i];
      continue;
    }
    if (!std::isfinite(a[i]) || !std::isfinite(b[i])) return kInfinity;
    // Zeros of either sign are no distance apart, and yet not the same.
    difference += bits ? std::max((a[i] - b[i]) * (a[i] - b[i]), std::numeric_limits<double>::min())
                       : (a[i] - b[i]) * (a[i] - b[i]);
    norm += b[i] * b[i];
  }
  return std::sqrt(difference) / std::max(0.1, std::sqrt(norm));
}

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2g", value);
  return text;
}

}  // namespace

Difference compare(const Case& c, const Outcome& found, const Outcome& expected) {
  Difference result;
  for (const Outcome* outcome : {&found, &expected}) {
    if (outcome->error.empty()) continue;
    result.error = std::numeric_limits<double>::infinity();
    result.failure = outcome->error + (outcome == &expected ? " (on the CPU)" : "");
    return result;
  }
  if (found.results.size() != expected.results.size()) {
    result.failure = "the number of results differs";
    return result;
  }
  for (std::size_t i = 0; i < found.results.size(); ++i) {
    const double error = distance(found.results[i], expected.results[i], c.bound == kBits);
    if (error > c.bound && result.failure.empty()) {
      result.failure = "result " + std::to_string(i) + " is off by " + number(error) + " where " +
                       (c.bound == kBits ? "equal bits are" : number(c.bound) + " is") + " expected";
    }
    result.error = std::max(result.error, error);
  }
  return result;
}

namespace {

template <class T>
void put(std::string& bytes, const T& value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
}
void put(std::string& bytes, const std::string& text) {
  put(bytes, text.size());
  bytes += text;
}

class Reader {
 public:
  explicit Reader(const std::string& bytes) : bytes_(bytes) {}
  const char* take(std::size_t count) {
    if (count > bytes_.size() - at_) throw FormatError("weft check: results of another process end early");
    at_ += count;
    return bytes_.data() + at_ - count;
  }
  template <class T>
  T get() {
    T value;
    std::memcpy(&value, take(sizeof value), sizeof value);
    return value;
  }

 private:
  const std::string& bytes_;
  std::size_t at_ = 0;
};

}  // namespace

std::string to_bytes(const std::vector<Outcome>& outcomes) {
  std::string bytes;
  put(bytes, outcomes.size());
  for (const Outcome& outcome : outcomes) {
    put(bytes, outcome.error);
    put(bytes, outcome.results.size());
    for (const Array& array : outcome.results) {
      put(bytes, array.dtype());
      put(bytes, array.rank());
      for (const std::int64_t size : array.shape()) put(bytes, size);
      bytes.append(static_cast<const char*>(array.data()),
                   static_cast<std::size_t>(array.size()) * size_of(array.dtype()));
    }
  }
  return bytes;
}

std::vector<Outcome> from_bytes(const std::string& bytes) {
  Reader reader(bytes);
  std::vector<Outcome> outcomes(std::min(reader.get<std::size_t>(), bytes.size()));
  for (Outcome& outcome : outcomes) {
    const auto length = reader.get<std::size_t>();
    outcome.error.assign(reader.take(length), length);
    for (auto left = reader.get<std::size_t>(); left > 0; --left) {
      const auto dtype = reader.get<DType>();
      Shape shape;
      for (int axis = reader.get<int>(); axis > 0; --axis) shape.push_back(reader.get<std::int64_t>());
      const Array array = Array::empty(shape, dtype);
      const std::size_t size = static_cast<std::size_t>(array.size()) * size_of(dtype);
      std::memcpy(const_cast<void*>(array.data()), reader.take(size), size);
      outcome.results.push_back(array);
    }
  }
  return outcomes;
}

void Report::add(const Family& family, const std::vector<Difference>& differences, const std::string& where) {
  auto found = std::ranges::find(lines_, family.name, &Line::family);
  if (found == lines_.end()) {
    found = lines_.insert(lines_.end(), Line{});
    found->family = family.name;
  }
  for (std::size_t i = 0; i < differences.size(); ++i) {
    const Case& c = family.cases[i];
    const Difference& difference = differences[i];
    const std::string name = c.name + (where.empty() ? "" : ", " + where);
    ++found->cases;
    if (!difference.failure.empty()) {
      ++found->failed;
      found->failures.push_back(name + ": " + difference.failure);
    }
    if (c.bound == kBits) continue;
    found->bits = false;
    const double share = difference.error / c.bound;
    if (share <= found->share) continue;
    found->share = share;
    found->error = difference.error;
    found->bound = c.bound;
    found->worst = name;
  }
}

bool Report::print(const std::string& what, const std::string& beside) const {
  constexpr std::size_t kMostFailures = 3;  // of a family
  std::size_t cases = 0, failed = 0;
  std::string families;
  std::printf("%-34s %5s  %-8s %-8s nearest to its bound\n", "family", "cases", "error", "bound");
  for (const Line& line : lines_) {
    cases += line.cases;
    failed += line.failed;
    std::printf("%-34s %5zu  ", line.family.c_str(), line.cases);
    if (line.bits) {
      std::printf("bits");
    } else {
      std::printf("%-8s %-8s %s", number(line.error).c_str(), number(line.bound).c_str(), line.worst.c_str());
    }
    if (line.failed != 0) std::printf("  FAILED: %zu", line.failed);
    std::printf("\n");
    for (std::size_t i = 0; i < std::min(line.failures.size(), kMostFailures); ++i) {
      std::printf("    %s\n", line.failures[i].c_str());
    }
    if (line.failed != 0) families += (families.empty() ? "" : ", ") + line.family;
  }
  if (failed == 0) {
    std::printf("%s: all of %zu cases agree with %s\n", what.c_str(), cases, beside.c_str());
  } else {
    std::printf("%s: FAILED, %zu of %zu cases differ from %s: %s\n", what.c_str(), failed, cases, beside.c_str(),
                families.c_str());
  }
  return failed == 0;
}

}  // namespace weft::cli::check
