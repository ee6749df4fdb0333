#include "core/io/file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "tests/io_support.h"
#include "weft/error.h"
#include "weft/io.h"

namespace weft {
namespace {

using namespace test;

/// Files of this process can grow to `bytes` at most while it lives: stands in for a full disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : old_handler_(::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &old_limit_);
    const struct rlimit limit = {bytes, old_limit_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &old_limit_);
    ::signal(SIGXFSZ, old_handler_);
  }

 private:
  struct rlimit old_limit_ = {};
  void (*old_handler_)(int);
};

TEST(AtomicFile, WritesAndReplaces) {
  const TemporaryFolder folder;
  for (const std::string& content : {std::string("first"), std::string(), std::string(100'000, 'x')}) {
    write_file_atomically(folder / "a.txt", content);
    EXPECT_EQ(read_file(folder / "a.txt"), content);
    EXPECT_EQ(folder.names(), std::vector<std::string>{"a.txt"});
  }
}

TEST(AtomicFile, AnAbandonedOneLeavesNothing) {
  const TemporaryFolder folder;
  write_file(folder / "a.txt", "old");
  {
    io::AtomicFile file(folder / "a.txt");
    file.write("new", 3);
    EXPECT_EQ(folder.names().size(), 2u);
  }
  EXPECT_EQ(read_file(folder / "a.txt"), "old");
  EXPECT_EQ(folder.names(), std::vector<std::string>{"a.txt"});
}

TEST(AtomicFile, AFullDiskLeavesTheOldFile) {
  const TemporaryFolder folder;
  const Array large = Array::full({5000}, 1.0);
  const std::vector<std::function<void()>> saves = {
      [&] { write_file_atomically(folder / "target", std::string(20'000, 'x')); },
      [&] {
        save_safetensors(folder / "target", {{{"large", large}}, {}});
      },
      [&] { save_npy(folder / "target", large); },
  };
  for (const bool exists : {false, true}) {
    if (exists) write_file(folder / "target", "old");
    for (const auto& save : saves) {
      std::string message;
      {
        const FileSizeLimit limit(10'000);
        message = message_of<IoError>(save);
      }
      EXPECT_EQ(message, (folder / "target").string() + ": cannot write (File too large)");
      EXPECT_EQ(folder.names(), exists ? std::vector<std::string>{"target"} : std::vector<std::string>{});
      EXPECT_EQ(read_file(folder / "target"), exists ? "old" : "");
    }
  }
  for (const auto& save : saves) EXPECT_NO_THROW(save());
}

TEST(AtomicFile, RefusesWhatItCannotReplace) {
  const TemporaryFolder folder;
  const auto message = [](const std::filesystem::path& path) {
    const std::string text = message_of<IoError>([&] { write_file_atomically(path, "x"); });
    return text.substr(std::min(path.string().size(), text.size()));
  };
  EXPECT_EQ(message(folder / "missing/a.txt"), ": cannot open its folder (No such file or directory)");
  write_file(folder / "plain", "");
  EXPECT_EQ(message(folder / "plain/a.txt"), ": cannot open its folder (Not a directory)");
  std::filesystem::create_directory(folder / "sub");
  EXPECT_EQ(message(folder / "sub"), ": cannot write (not a regular file)");
  EXPECT_EQ(message(folder / "sub/"), ": cannot write (not a regular file)");
  EXPECT_EQ(message(folder / std::string(256, 'n')), ": cannot write (File name too long)");
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_EQ(message(folder / "pipe"), ": cannot write (not a regular file)");
  EXPECT_EQ(message_of<IoError>([] { write_file_atomically("", "x"); }), ": cannot write (not a regular file)");
  EXPECT_EQ(folder.names(), (std::vector<std::string>{"pipe", "plain", "sub"}));
}

TEST(AtomicFile, TakesNamesOfEveryLength) {
  const TemporaryFolder folder;
  for (const std::size_t length : {1, 199, 200, 201, 255}) {
    const std::string name(length, 'n');
    write_file_atomically(folder / name, name);
    EXPECT_EQ(read_file(folder / name), name);
  }
}

TEST(AtomicFile, FollowsALinkAndKeepsPermissions) {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder / "sub");
  write_file(folder / "sub/real", "old");
  ASSERT_EQ(::chmod((folder / "sub/real").c_str(), 0600), 0);
  std::filesystem::create_symlink("sub/real", folder / "link");
  write_file_atomically(folder / "link", "new");
  EXPECT_TRUE(std::filesystem::is_symlink(folder / "link"));
  EXPECT_EQ(read_file(folder / "sub/real"), "new");
  EXPECT_EQ(std::filesystem::status(folder / "sub/real").permissions(), std::filesystem::perms(0600));
}

TEST(AtomicFile, FollowsALinkToWhatIsNotThereYet) {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder / "sub");
  std::filesystem::create_symlink("sub/second", folder / "first");
  std::filesystem::create_symlink("new", folder / "sub/second");
  write_file_atomically(folder / "first", "text");
  EXPECT_TRUE(std::filesystem::is_symlink(folder / "first"));
  EXPECT_TRUE(std::filesystem::is_symlink(folder / "sub/second"));
  EXPECT_FALSE(std::filesystem::is_symlink(folder / "sub/new"));
  EXPECT_EQ(read_file(folder / "sub/new"), "text");
  std::filesystem::create_symlink((folder / "absolute").string(), folder / "link");
  write_file_atomically(folder / "link", "text");
  EXPECT_EQ(read_file(folder / "absolute"), "text");
  std::filesystem::create_symlink("missing/new", folder / "astray");
  EXPECT_EQ(message_of<IoError>([&] { write_file_atomically(folder / "astray", "text"); }),
            (folder / "missing/new").string() + ": cannot open its folder (No such file or directory)");
  std::filesystem::create_symlink("circle", folder / "circle");
  EXPECT_EQ(message_of<IoError>([&] { write_file_atomically(folder / "circle", "text"); }),
            (folder / "circle").string() + ": cannot write (Too many levels of symbolic links)");
}

TEST(AtomicFile, WritersOfOneFileDoNotMix) {
  const TemporaryFolder folder;
  std::vector<std::thread> writers;
  for (char c : {'a', 'b', 'c'})
    writers.emplace_back([&folder, c] {
      for (int i = 0; i < 20; ++i) write_file_atomically(folder / "shared", std::string(5000, c));
    });
  for (auto& writer : writers) writer.join();
  const std::string content = read_file(folder / "shared");
  EXPECT_EQ(content, std::string(5000, content.empty() ? '?' : content[0]));
  EXPECT_EQ(folder.names(), std::vector<std::string>{"shared"});
}

TEST(AtomicFile, RemovesWhatKilledProcessesLeft) {
  const TemporaryFolder folder;
  write_file(folder / "a.txt", "old");
  const pid_t child = ::fork();
  if (child == 0) {
    io::AtomicFile file(folder / "a.txt");
    file.write("half", 4);
    ::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  ASSERT_EQ(folder.names().size(), 2u);
  for (const char* other : {".a.txt.tmp", ".a.txt.1.tmp", ".a.txt.1-.tmp", ".a.txt.-1.tmp", ".a.txt.1-2-3.tmp",
                            ".a.txt.x-1.tmp", ".b.txt.1-2.tmp", "a.txt.1-2.tmp"})
    write_file(folder / other, "");
  {
    io::AtomicFile open(folder / "a.txt");  // the file of a save that is under way stays
    open.write("new", 3);
    write_file_atomically(folder / "a.txt", "other");
    EXPECT_EQ(folder.names().size(), 10u);
    open.commit();
  }
  EXPECT_EQ(read_file(folder / "a.txt"), "new");
  EXPECT_EQ(folder.names().size(), 9u);
}

TEST(FileSource, NamesWhatItCannotOpen) {
  const TemporaryFolder folder;
  const auto message = [](const std::filesystem::path& path) {
    const std::string text = message_of<IoError>([&] { load_npy(path); });
    EXPECT_EQ(text, message_of<IoError>([&] { load_safetensors(path); }));
    return text.substr(std::min(path.string().size(), text.size()));
  };
  EXPECT_EQ(message(folder / "missing"), ": cannot open (No such file or directory)");
  EXPECT_EQ(message(folder / ""), ": cannot open (not a regular file)");
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_EQ(message(folder / "pipe"), ": cannot open (not a regular file)");
}

TEST(FileSource, NoticesAChangeOfSize) {
  const TemporaryFolder folder;
  const auto path = folder / "data";
  write_file(path, std::string(100, 'x'));
  io::FileSource grown(path);
  EXPECT_EQ(grown.read_text(100), std::string(100, 'x'));
  EXPECT_NO_THROW(grown.check_size_unchanged());
  write_file(path, std::string(101, 'x'));
  EXPECT_EQ(message_of<IoError>([&] { grown.check_size_unchanged(); }),
            path.string() + ": size changed while it was read (100 bytes before, 101 after)");
  io::FileSource shrunk(path);
  std::filesystem::resize_file(path, 50);
  EXPECT_EQ(message_of<IoError>([&] { shrunk.read_text(101); }),
            path.string() + ": size changed while it was read (101 bytes before, 50 after)");
}

TEST(Source, ReadsNoFurtherThanItsEnd) {
  io::MemorySource source("memory", "abcdef");
  EXPECT_EQ(source.read_text(4), "abcd");
  EXPECT_EQ(source.remaining(), 2u);
  EXPECT_EQ(message_of<FormatError>([&] { source.read_text(3); }), "memory: file is truncated (6 bytes)");
  EXPECT_EQ(source.read_text(2), "ef");
  EXPECT_EQ(source.read_text(0), "");
}

TEST(ByteCount, ChecksItsProduct) {
  constexpr std::int64_t kBig = std::int64_t{1} << 31;
  EXPECT_EQ(io::byte_count({}, DType::f64), 8);
  EXPECT_EQ(io::byte_count({2, 3}, DType::f16), 12);
  EXPECT_EQ(io::byte_count({kBig, 0}, DType::f32), 0);
  EXPECT_EQ(io::byte_count({kBig, kBig}, DType::u8), kBig * kBig);
  EXPECT_EQ(io::byte_count({kBig, kBig}, DType::f16), -1);
  EXPECT_EQ(io::byte_count({0, kBig, kBig, kBig}, DType::u8), -1);
  EXPECT_EQ(io::byte_count({-1}, DType::u8), -1);
}

}  // namespace
}  // namespace weft
