// The calls of the system by which a file is written: their order, which a power loss asks for, and each interrupted by
// a signal.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdarg>
#include <string>
#include <vector>

#include "tests/io_support.h"
#include "weft/io.h"

namespace {

struct Calls {
  bool noted = false;
  std::string interrupted;  ///< the call that fails with EINTR the first time
  std::vector<std::string> made;
};
Calls calls;

/// Notes the call and says whether a signal interrupts it.
bool interrupts(const std::string& call) {
  if (!calls.noted) return false;
  calls.made.push_back(call);
  if (call != calls.interrupted) return false;
  calls.interrupted.clear();
  errno = EINTR;
  return true;
}

bool is_folder(int descriptor) {
  struct stat status = {};
  return ::fstat(descriptor, &status) == 0 && S_ISDIR(status.st_mode);
}

}  // namespace

extern "C" {
int __real_open(const char* path, int flags, ...);
int __real_openat(int folder, const char* path, int flags, ...);
ssize_t __real_write(int file, const void* data, size_t bytes);
int __real_fsync(int file);
int __real_renameat(int from_folder, const char* from, int to_folder, const char* to);

int __wrap_open(const char* path, int flags, ...) {
  if (interrupts((flags & O_DIRECTORY) != 0 ? "open folder" : "open")) return -1;
  return __real_open(path, flags);
}
int __wrap_openat(int folder, const char* path, int flags, ...) {
  if ((flags & O_CREAT) == 0) return __real_openat(folder, path, flags);
  va_list arguments;
  va_start(arguments, flags);
  const auto mode = va_arg(arguments, mode_t);
  va_end(arguments);
  return interrupts("create") ? -1 : __real_openat(folder, path, flags, mode);
}
ssize_t __wrap_write(int file, const void* data, size_t bytes) {
  return interrupts("write") ? -1 : __real_write(file, data, bytes);
}
int __wrap_fsync(int file) {
  return interrupts(is_folder(file) ? "sync folder" : "sync file") ? -1 : __real_fsync(file);
}
int __wrap_renameat(int from_folder, const char* from, int to_folder, const char* to) {
  if (calls.noted) calls.made.push_back("rename");
  return __real_renameat(from_folder, from, to_folder, to);
}
}

namespace weft {
namespace {

class IoCalls : public testing::Test {
 protected:
  void TearDown() override { calls = {}; }
  std::vector<std::string> write(const std::string& interrupted) const {
    calls = {true, interrupted, {}};
    write_file_atomically(folder_ / "a", "text");
    calls.noted = false;
    EXPECT_EQ(test::read_file(folder_ / "a"), "text");
    EXPECT_EQ(folder_.names(), std::vector<std::string>{"a"});
    return calls.made;
  }
  test::TemporaryFolder folder_;
};

// The data reach the disk before the name leads to them, and the name before the save has succeeded.
TEST_F(IoCalls, ComeInTheOrderThatSurvivesAPowerLoss) {
  EXPECT_EQ(write(""),
            (std::vector<std::string>{"open folder", "create", "write", "sync file", "rename", "sync folder"}));
}

TEST_F(IoCalls, AreRepeatedWhenASignalInterruptsThem) {
  for (const char* call : {"open folder", "create", "write", "sync file", "sync folder"}) {
    const std::vector<std::string> made = write(call);
    EXPECT_EQ(std::count(made.begin(), made.end(), call), 2) << call;
  }
  save_npy(folder_ / "x.npy", Array::full({2}, 1.0, DType::f32));
  calls = {true, "open", {}};
  EXPECT_EQ(load_npy(folder_ / "x.npy").to_vector<float>(), (std::vector<float>{1, 1}));
  EXPECT_EQ(calls.made, (std::vector<std::string>{"open", "open"}));
}

}  // namespace
}  // namespace weft
