#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "core/io/parse.h"
#include "tests/io_support.h"
#include "weft/error.h"
#include "weft/io.h"

namespace weft {
namespace {

using namespace test;

/// A file of this header (its length in front) and data.
std::string file_of(const std::string& header, const std::string& data = "") {
  std::string bytes(8, '\0');
  for (int i = 0; i < 8; ++i) bytes[static_cast<std::size_t>(i)] = static_cast<char>(header.size() >> (8 * i));
  return bytes + header + data;
}

TensorFile parse(const std::string& bytes) {
  io::MemorySource source("F", bytes);
  return io::read_safetensors(source);
}

std::string refusal(const std::string& bytes) {
  return message_of<FormatError>([&] { parse(bytes); });
}

TensorFile round_trip(const TensorFile& file) {
  const TemporaryFolder folder;
  save_safetensors(folder / "f", file);
  return load_safetensors(folder / "f");
}

class SafetensorsRoundTrip : public testing::TestWithParam<DType> {};

TEST_P(SafetensorsRoundTrip, KeepsEveryShape) {
  TensorFile file;
  for (const Shape& shape : shapes()) file.arrays[to_string(shape)] = sample(shape, GetParam());
  const TensorFile loaded = round_trip(file);
  ASSERT_EQ(loaded.arrays.size(), file.arrays.size());
  for (const auto& named : file.arrays) {
    SCOPED_TRACE(named.first);
    expect_equal(loaded.arrays.at(named.first), named.second);
    EXPECT_TRUE(loaded.arrays.at(named.first).layout().is_row_major());
  }
}

INSTANTIATE_TEST_SUITE_P(DTypes, SafetensorsRoundTrip, testing::ValuesIn(kAllDTypes),
                         [](const auto& instance) { return std::string(name(instance.param)); });

TEST(Safetensors, WritesViewsInLogicalOrder) {
  TensorFile file;
  for (const Array& view : odd_views()) file.arrays[to_string(view.strides())] = view;
  const TensorFile loaded = round_trip(file);
  for (const auto& named : file.arrays) expect_equal(loaded.arrays.at(named.first), named.second);
}

TEST(Safetensors, KeepsMetadataAndNamesInUnicode) {
  TensorFile file;
  const std::vector<std::string> texts = {"",
                                          "plain",
                                          "\xc3\xa9t\xc3\xa9",
                                          "\xf0\x9f\xa7\xb5",
                                          "a\"b\\",
                                          text("nul\0tab\t\n"),
                                          "{\"dtype\":\"F32\"}",
                                          std::string(1024, 'n')};
  for (const std::string& name : texts) {
    file.arrays[name] = sample({2}, DType::u8, static_cast<unsigned>(name.size()));
    file.metadata[name] = name + name;
  }
  file.metadata["__metadata__"] = "a key like any other here";
  const TensorFile loaded = round_trip(file);
  EXPECT_EQ(loaded.metadata, file.metadata);
  ASSERT_EQ(loaded.arrays.size(), file.arrays.size());
  for (const auto& named : file.arrays) expect_equal(loaded.arrays.at(named.first), named.second);
}

TEST(Safetensors, WritesExactlyTheseBytes) {
  const TemporaryFolder folder;
  const std::uint8_t bytes[] = {0, 1, 2};
  const float floats[] = {1, 2};
  const std::int64_t seven[] = {7};
  TensorFile file;
  file.arrays["b"] = Array::from<std::uint8_t>(bytes, {3});
  file.arrays["a"] = Array::from<float>(floats, {1, 2});
  file.arrays["\xc3\xa9"] = Array::from<std::int64_t>(seven, {});
  file.metadata["format"] = "np";
  save_safetensors(folder / "f", file);
  const std::string header =
      "{\"__metadata__\":{\"format\":\"np\"},\"\xc3\xa9\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[0,8]},"
      "\"a\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[8,16]},"
      "\"b\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[16,19]}}";
  const std::string data = text("\7\0\0\0\0\0\0\0\0\0\x80\x3f\0\0\0\x40\0\1\2");
  EXPECT_EQ(read_file(folder / "f"), file_of(header + std::string(256 - 8 - header.size(), ' '), data));
  // The same arrays as the Python package 0.8 writes them: padded to 8 only.
  const TensorFile loaded = parse(file_of(header + std::string(5, ' '), data));
  EXPECT_EQ(loaded.metadata, file.metadata);
  for (const auto& named : file.arrays) expect_equal(loaded.arrays.at(named.first), named.second);

  save_safetensors(folder / "empty", {});
  EXPECT_EQ(read_file(folder / "empty"), file_of("{}" + std::string(54, ' ')));
  EXPECT_TRUE(load_safetensors(folder / "empty").arrays.empty());
}

TEST(Safetensors, TakesKeysAndDataInAnyOrder) {
  const TensorFile file = parse(file_of(
      " {"[1] + std::string("\"z\":{\"data_offsets\":[1,3],\"shape\":[2],\"dtype\":\"U8\"},"
                            "\"e\" : {\"shape\":[0],\"dtype\":\"F64\",\"data_offsets\":[1,1]},\"__metadata__\":{},"
                            "\"a\":{\"dtype\":\"BOOL\",\"data_offsets\":[0,1],\"shape\":[1,1]}}\n"),
      "\1\2\3"));
  EXPECT_EQ(bytes_of(file.arrays.at("a")), "\1");
  EXPECT_EQ(bytes_of(file.arrays.at("z")), "\2\3");
  EXPECT_EQ(file.arrays.at("e").shape(), Shape({0}));
}

TEST(Safetensors, RefusesABrokenFrame) {
  EXPECT_EQ(refusal(""), "F: file is truncated (0 bytes)");
  EXPECT_EQ(refusal(std::string(7, '\0')), "F: file is truncated (7 bytes)");
  EXPECT_EQ(refusal(std::string(8, '\0')), "F: header must begin with { (\"\")");
  EXPECT_EQ(refusal(std::string(8, '\xff')), "F: header must be at most 100000000 bytes (18446744073709551615)");
  EXPECT_EQ(refusal(text("\x01\xe1\xf5\x05\0\0\0\0")), "F: header must be at most 100000000 bytes (100000001)");
  EXPECT_EQ(refusal(text("\x00\xe1\xf5\x05\0\0\0\0")),
            "F: header must end within the file (100000000 bytes of header, 8 of file)");
  EXPECT_EQ(refusal(text("\3\0\0\0\0\0\0\0{}")), "F: header must end within the file (3 bytes of header, 10 of file)");
  EXPECT_EQ(refusal(file_of(" {}")), "F: header must begin with { (\" \")");
  EXPECT_EQ(refusal(file_of("[]")), "F: header must begin with { (\"[\")");
  EXPECT_EQ(refusal(file_of("{}{}")), "F: header must be JSON in UTF-8 (invalid at byte 3)");
  EXPECT_EQ(refusal(file_of(text("{}\0"))), "F: header must be JSON in UTF-8 (invalid at byte 3)");
  EXPECT_EQ(refusal(file_of("{")), "F: header must be JSON in UTF-8 (invalid at byte 2)");
  EXPECT_EQ(refusal(file_of("{\"\xff\":0}")), "F: header must be JSON in UTF-8 (invalid at byte 3)");
  EXPECT_EQ(refusal(file_of("{}", "x")), "F: data must end with the file (0 bytes described, 1 present)");
}

TEST(Safetensors, RefusesABrokenHeader) {
  const std::string rest = "\"shape\":[1],\"data_offsets\":[0,1]}";
  const std::pair<std::string, std::string> cases[] = {
      {"\"a\":1", "every entry must be an object (\"a\": 1)"},
      {"\"a\":[]", "every entry must be an object (\"a\": an array)"},
      {"\"a\":null", "every entry must be an object (\"a\": null)"},
      {"\"a\":\"x\"", "every entry must be an object (\"a\": string \"x\")"},
      {"\"__metadata__\":true", "every entry must be an object (\"__metadata__\": a boolean)"},
      {"\"__metadata__\":{\"k\":1}", "metadata values must be strings (\"__metadata__\": \"k\" is 1)"},
      {"\"__metadata__\":{\"k\":{}}", "metadata values must be strings (\"__metadata__\": \"k\" is an object)"},
      {"\"__metadata__\":{\"k\":[]}", "metadata values must be strings (\"__metadata__\": \"k\" is an array)"},
      {"\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}", "keys must be unique (\"__metadata__\": \"k\")"},
      {"\"__metadata__\":{},\"__metadata__\":{}", "names must be unique (\"__metadata__\")"},
      {"\"a\":{\"dtype\":\"U8\"," + rest + ",\"a\":{", "names must be unique (\"a\")"},
      {'"' + std::string(1025, 'n') + "\":{",
       "names must be at most 1024 bytes (\"" + std::string(128, 'n') + "...\": 1025)"},
      {"\"a\":{\"type\":1", "keys must be dtype, shape and data_offsets (\"a\": \"type\")"},
      {"\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\"," + rest, "keys must be unique (\"a\": \"dtype\")"},
      {"\"a\":{\"shape\":[],\"shape\":[]", "keys must be unique (\"a\": \"shape\")"},
      {"\"a\":{\"data_offsets\":[0,1],\"data_offsets\":[0,1]", "keys must be unique (\"a\": \"data_offsets\")"},
      {"\"a\":{" + rest, "a key is missing (\"a\": dtype)"},
      {"\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}", "a key is missing (\"a\": shape)"},
      {"\"a\":{\"dtype\":\"U8\",\"shape\":[1]}", "a key is missing (\"a\": data_offsets)"},
      {"\"a\":{\"dtype\":\"F80\"," + rest, "dtype must be one of the format (\"a\": \"F80\")"},
      {"\"a\":{\"dtype\":3", "dtype must be a string (\"a\": 3)"},
      {"\"a\":{\"dtype\":[\"U8\"]", "dtype must be a string (\"a\": an array)"},
      {"\"a\":{\"shape\":1", "shape must be an array (\"a\": 1)"},
      {"\"a\":{\"shape\":\"1\"", "shape must be an array (\"a\": string \"1\")"},
      {"\"a\":{\"data_offsets\":{", "data_offsets must be an array (\"a\": an object)"},
      {"\"a\":{\"shape\":[-1]", "shape must hold non-negative integers (\"a\": -1)"},
      {"\"a\":{\"shape\":[-0]", "shape must hold non-negative integers (\"a\": 0)"},
      {"\"a\":{\"shape\":[1.0]", "shape must hold non-negative integers (\"a\": 1.0)"},
      {"\"a\":{\"shape\":[1e0]", "shape must hold non-negative integers (\"a\": 1e0)"},
      {"\"a\":{\"shape\":[18446744073709551616]",
       "shape must hold non-negative integers (\"a\": 18446744073709551616)"},
      {"\"a\":{\"shape\":[9223372036854775808]", "integers must be at most 2^63 - 1 (\"a\": 9223372036854775808)"},
      {"\"a\":{\"shape\":[[1]]", "shape must hold non-negative integers (\"a\": an array)"},
      {"\"a\":{\"shape\":[\"1\"]", "shape must hold non-negative integers (\"a\": string \"1\")"},
      {"\"a\":{\"shape\":[true]", "shape must hold non-negative integers (\"a\": a boolean)"},
      {"\"a\":{\"shape\":[1,1,1,1,1,1,1,1,1]", "rank must be at most 8 (\"a\": at least 9)"},
      {"\"a\":{\"data_offsets\":[0]", "data_offsets must be two integers (\"a\": 1)"},
      {"\"a\":{\"data_offsets\":[0,1,2]", "data_offsets must be two integers (\"a\": at least 3)"},
      {"\"a\":{\"data_offsets\":[-1,0]", "data_offsets must be two non-negative integers (\"a\": -1)"},
      {"\"a\":{\"data_offsets\":[0,1e9]", "data_offsets must be two non-negative integers (\"a\": 1e9)"},
      {"\"a\":{\"data_offsets\":[0,null]", "data_offsets must be two non-negative integers (\"a\": null)"},
      {"\"a\":{\"dtype\":\"U8\",}", "header must be JSON in UTF-8 (invalid at byte 20)"},
  };
  for (const auto& item : cases) EXPECT_EQ(refusal(file_of("{" + item.first + "}", "x")), "F: " + item.second);
}

TEST(Safetensors, RefusesOffsetsThatDoNotFit) {
  const auto entry = [](const std::string& key, const std::string& dtype, const std::string& shape,
                        const std::string& offsets) {
    return '"' + key + "\":{\"dtype\":\"" + dtype + "\",\"shape\":[" + shape + "],\"data_offsets\":[" + offsets + "]}";
  };
  const auto refuse = [](const std::string& entries, const std::string& data) {
    return refusal(file_of("{" + entries + "}", data));
  };
  EXPECT_EQ(refuse(entry("a", "U8", "1", "1,2"), "xy"),
            "F: data must be contiguous from 0 (\"a\": U8 (1,) at [1, 2], expected to begin at 0)");
  EXPECT_EQ(refuse(entry("a", "U8", "1", "0,1") + "," + entry("b", "U8", "1", "2,3"), "xyz"),
            "F: data must be contiguous from 0 (\"b\": U8 (1,) at [2, 3], expected to begin at 1)");
  EXPECT_EQ(refuse(entry("a", "U8", "2", "0,2") + "," + entry("b", "U8", "2", "1,3"), "xyz"),
            "F: data must be contiguous from 0 (\"b\": U8 (2,) at [1, 3], expected to begin at 2)");
  EXPECT_EQ(refuse(entry("a", "U8", "2", "0,2") + "," + entry("b", "U8", "2", "0,2"), "xy"),
            "F: data must be contiguous from 0 (\"b\": U8 (2,) at [0, 2], expected to begin at 2)");
  EXPECT_EQ(refuse(entry("a", "F32", "2,3", "0,23"), std::string(23, 'x')),
            "F: data_offsets must span shape times dtype size (\"a\": F32 (2, 3) at [0, 23], needs 24 bytes)");
  EXPECT_EQ(refuse(entry("a", "U8", "0", "0,0") + "," + entry("b", "U8", "1", "0,0"), ""),
            "F: data_offsets must span shape times dtype size (\"b\": U8 (1,) at [0, 0], needs 1 bytes)");
  EXPECT_EQ(refuse(entry("a", "U8", "0", "0,0") + "," + entry("b", "U8", "0", "1,0"), ""),
            "F: data must be contiguous from 0 (\"b\": U8 (0,) at [1, 0], expected to begin at 0)");
  EXPECT_EQ(refuse(entry("a", "U8", "1", "0,1") + "," + entry("b", "U8", "", "1,0"), "x"),
            "F: data_offsets must span shape times dtype size (\"b\": U8 () at [1, 0], needs 1 bytes)");
  EXPECT_EQ(refuse(entry("a", "F32", "4294967296,4294967296", "0,0"), ""),
            "F: shape must be of whole bytes, less than 2^63 (\"a\": F32 (4294967296, 4294967296) at [0, 0])");
  EXPECT_EQ(refuse(entry("a", "F32", "0,4294967296,4294967296", "0,0"), ""),
            "F: shape must be of whole bytes, less than 2^63 (\"a\": F32 (0, 4294967296, 4294967296) at [0, 0])");
  EXPECT_EQ(refuse(entry("a", "U8", "1000000000000000", "0,1000000000000000"), "x"),
            "F: data must end with the file (1000000000000000 bytes described, 1 present)");
  EXPECT_EQ(refuse(entry("a", "U8", "1", "0,1"), "xy"),
            "F: data must end with the file (1 bytes described, 2 present)");
  EXPECT_EQ(refuse(entry("a", "BOOL", "3", "0,3"), text("\0\1\2")), "F: booleans must be 0 or 1 (\"a\", element 2: 2)");
  EXPECT_EQ(refuse(entry("a", "F4", "3", "0,1"), "x"),
            "F: shape must be of whole bytes, less than 2^63 (\"a\": F4 (3,) at [0, 1])");
  EXPECT_EQ(refuse(entry("a", "U64", "2", "0,15"), std::string(15, 'x')),
            "F: data_offsets must span shape times dtype size (\"a\": U64 (2,) at [0, 15], needs 16 bytes)");
}

class SmallFile : public testing::Test {
 protected:
  SmallFile() {
    original_.arrays["w"] = sample({2, 3}, DType::f32, 1);
    original_.arrays["ids"] = sample({3}, DType::i64, 2);
    original_.arrays["on"] = sample({5}, DType::boolean, 3);
    original_.metadata["step"] = "12";
    const TemporaryFolder folder;
    save_safetensors(folder / "f", original_);
    bytes_ = read_file(folder / "f");
  }
  TensorFile original_;
  std::string bytes_;
};

TEST_F(SmallFile, EveryFlippedHeaderBitIsRefusedOrHarmless) {
  const std::size_t header_end = bytes_.size() - 24 - 24 - 5;
  ASSERT_EQ(header_end % 64, 0u);
  int loaded_count = 0, refused_count = 0;
  for (std::size_t bit = 0; bit < header_end * 8; ++bit) {
    std::string bytes = bytes_;
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
    try {
      const TensorFile loaded = parse(bytes);
      ++loaded_count;
      int changed = original_.metadata != loaded.metadata;
      ASSERT_EQ(loaded.arrays.size(), original_.arrays.size());
      for (const auto& named : loaded.arrays) {
        const auto same = original_.arrays.find(named.first);
        if (same == original_.arrays.end() || same->second.shape() != named.second.shape() ||
            same->second.dtype() != named.second.dtype()) {
          ++changed;
        } else {
          expect_equal(named.second, same->second);
        }
      }
      EXPECT_LE(changed, 1) << "bit " << bit;
    } catch (const FormatError&) {
      ++refused_count;
    }
  }
  EXPECT_GT(loaded_count, 30);
  EXPECT_GT(refused_count, 1000);
}

TEST_F(SmallFile, EveryTruncationAndAnExtraByteAreRefused) {
  for (std::size_t length = 0; length < bytes_.size(); ++length)
    EXPECT_THROW(parse(bytes_.substr(0, length)), FormatError) << length;
  EXPECT_THROW(parse(bytes_ + '\0'), FormatError);
}

TEST_F(SmallFile, ErrorsNameTheFile) {
  const TemporaryFolder folder;
  write_file(folder / "cut", bytes_.substr(0, bytes_.size() - 1));
  EXPECT_EQ(message_of<FormatError>([&] { load_safetensors(folder / "cut"); }),
            (folder / "cut").string() + ": data must end with the file (53 bytes described, 52 present)");
}

TEST_F(SmallFile, WhatCannotBeWrittenIsRefusedBeforeTheFileIsTouched) {
  const TemporaryFolder folder;
  write_file(folder / "f", "old");
  const auto refuse = [&](const TensorFile& file) {
    const std::string message = message_of<ValueError>([&] { save_safetensors(folder / "f", file); });
    EXPECT_EQ(read_file(folder / "f"), "old");
    EXPECT_EQ(folder.names().size(), 1u);
    return message;
  };
  const Array one = sample({1}, DType::u8);
  EXPECT_EQ(refuse({{{"a", Array()}}, {}}), "save_safetensors: array is undefined (\"a\")");
  EXPECT_EQ(refuse({{{"__metadata__", one}}, {}}),
            "save_safetensors: names must be at most 1024 bytes and not __metadata__ (\"__metadata__\")");
  EXPECT_EQ(
      refuse({{{std::string(1025, 'n'), one}}, {}}),
      "save_safetensors: names must be at most 1024 bytes and not __metadata__ (\"" + std::string(128, 'n') + "...\")");
  EXPECT_EQ(refuse({{{"\xff", one}}, {}}), "save_safetensors: names and metadata must be UTF-8 (\"\\xff\")");
  EXPECT_EQ(refuse({{}, {{"k", "\xc3"}}}), "save_safetensors: names and metadata must be UTF-8 (\"\\xc3\")");
  EXPECT_EQ(refuse({{}, {{"k", std::string(100'000'000, 'v')}}}),
            "save_safetensors: header must be at most 100000000 bytes (100000056)");
}

}  // namespace
}  // namespace weft
