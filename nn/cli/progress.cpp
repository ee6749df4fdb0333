#include "cli/progress.h"

#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace weft::cli {

namespace {

std::string duration(double seconds) {
  const long whole = std::lround(seconds);
  char text[32];
  if (whole >= 3600) {
    std::snprintf(text, sizeof(text), "%ld:%02ld:%02ld", whole / 3600, whole / 60 % 60, whole % 60);
  } else {
    std::snprintf(text, sizeof(text), "%ld:%02ld", whole / 60, whole % 60);
  }
  return text;
}

bool is_set(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0';
}

}  // namespace

Progress::Progress() {
  const char* term = std::getenv("TERM");
  terminal_ = isatty(STDERR_FILENO) == 1 && term != nullptr && std::strcmp(term, "dumb") != 0;
  color_ = !is_set("NO_COLOR");
}

bool Progress::due() const {
  return terminal_ && std::chrono::steady_clock::now() - last_ >= std::chrono::milliseconds(100);
}

void Progress::update(std::int64_t epoch, std::int64_t epochs, std::int64_t step, std::int64_t steps,
                      const nn::Metrics& metrics) {
  constexpr int kWidth = 24;
  const double done = static_cast<double>(step) / static_cast<double>(steps);
  const auto filled = static_cast<int>(done * kWidth);
  std::string bar(static_cast<std::size_t>(filled), '=');
  bar.resize(kWidth, '.');
  const double left = done > 0 ? metrics.seconds * (static_cast<double>(epochs - epoch) / done - 1) : 0;
  std::fprintf(stderr, "\r\033[Kepoch %ld/%ld %s[%s]%s loss %.4f  acc %.2f%%  %.0f images/s  %s left",
               static_cast<long>(epoch + 1), static_cast<long>(epochs), color_ ? "\033[36m" : "", bar.c_str(),
               color_ ? "\033[0m" : "", metrics.loss, 100 * metrics.accuracy, metrics.images_per_second(),
               duration(left).c_str());
  std::fflush(stderr);
  drawn_ = true;
  last_ = std::chrono::steady_clock::now();
}

void Progress::clear() {
  if (drawn_) std::fputs("\r\033[K", stderr);
  drawn_ = false;
}

}  // namespace weft::cli
