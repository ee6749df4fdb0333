// What errors and `weft info` show of a stranger's text.
#include "weft/quote.h"

#include <gtest/gtest.h>

#include "tests/error_support.h"
#include "tests/io_support.h"
#include "weft/conv_algo.h"
#include "weft/weft.h"

namespace weft {
namespace {

TEST(Quote, PlainTextIsItself) {
  EXPECT_EQ(printable("conv1.weight"), "conv1.weight");
  EXPECT_EQ(quote("conv1.weight"), "\"conv1.weight\"");
  EXPECT_EQ(printable("gr\xc3\xb6\xc3\x9f"
                      "e \xe9\x87\x8d \xf0\x9f\x94\xa5"),
            "gr\xc3\xb6\xc3\x9f"
            "e \xe9\x87\x8d \xf0\x9f\x94\xa5");
}

TEST(Quote, WhatATerminalObeysIsEscaped) {
  EXPECT_EQ(printable("a\x1b[31mb"), "a\\x1b[31mb");
  EXPECT_EQ(printable("a\nweft: done\r\t\x7f"), "a\\x0aweft: done\\x0d\\x09\\x7f");
  EXPECT_EQ(printable(std::string_view("a\0b", 3)), "a\\x00b");
  EXPECT_EQ(printable("\xc2\x9b"
                      "31m"),
            "\\xc2\\x9b"
            "31m");  // U+009B, C1's escape sequence
  EXPECT_EQ(printable("\xc2\x80\xc2\x9f\xc2\xa0"), "\\xc2\\x80\\xc2\\x9f\xc2\xa0");
  EXPECT_EQ(printable("\xe2\x80\xa8\xe2\x80\xa9"), "\\xe2\\x80\\xa8\\xe2\\x80\\xa9");  // separators
  EXPECT_EQ(printable("\xe2\x80\xae"
                      "abc"),
            "\\xe2\\x80\\xae"
            "abc");  // from right to left
}

TEST(Quote, BytesThatAreNotUtf8AreEscaped) {
  EXPECT_EQ(printable("\x9b\xff"), "\\x9b\\xff");
  EXPECT_EQ(printable("\xc3"), "\\xc3");
  EXPECT_EQ(printable("\xc3("), "\\xc3(");
  EXPECT_EQ(printable("\xc0\x80\xe0\x80\x80"), "\\xc0\\x80\\xe0\\x80\\x80");  // too long for their characters
  EXPECT_EQ(printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");                    // a surrogate
  EXPECT_EQ(printable("\xf4\x90\x80\x80\xf5"), "\\xf4\\x90\\x80\\x80\\xf5");  // over U+10FFFF
}

TEST(Quote, QuotesWithinAreToldFromTheirs) { EXPECT_EQ(quote("a\"b\\x1b"), "\"a\\\"b\\\\x1b\""); }

TEST(Quote, LongTextIsCutBetweenCharacters) {
  EXPECT_EQ(quote(std::string(128, 'a')), '"' + std::string(128, 'a') + '"');
  EXPECT_EQ(quote(std::string(100'000, 'a')), '"' + std::string(128, 'a') + "...\"");
  EXPECT_EQ(quote(std::string(127, 'a') + "\xc3\xb6"), '"' + std::string(127, 'a') + "...\"");
  EXPECT_EQ(quote(std::string(126, 'a') + "\xf0\x9f\x94\xa5"), '"' + std::string(126, 'a') + "...\"");
  EXPECT_LE(quote(std::string(200, '\x80')).size(), 2 + 3 + 4 * 128U);
}

TEST(Quote, StateDictsNameTenOfEachKind) {
  nn::Linear model(2, 3);
  nn::StateDict state = model.state_dict();
  for (int i = 100'000; i < 200'000; ++i) state.emplace("\x1b[2J" + std::to_string(i), state.at("weight"));
  try {
    model.load_state_dict(state);
    FAIL();
  } catch (const FormatError& error) {
    const std::string text = error.what();
    EXPECT_TRUE(text.starts_with(R"(load_state_dict: unexpected "\x1b[2J100000", "\x1b[2J100001", )")) << text;
    EXPECT_TRUE(text.ends_with(R"("\x1b[2J100009" and 99990 more)")) << text;
    EXPECT_EQ(text.find('\x1b'), std::string::npos);
  }
}

// The choices of algorithms in a checkpoint are a stranger's text too.
class Choices : public testing::Test {
 protected:
  void TearDown() override { clear_conv_choices(); }
  std::string message(const std::string& choices) const {
    const auto path = folder_ / "x.safetensors";
    save_safetensors(path, {{}, {{"weft.conv_choices", choices}}});
    try {
      nn::load(path);
    } catch (const FormatError& error) {
      const std::string text = error.what();
      const std::string begin = path.string() + ": metadata weft.conv_choices";
      EXPECT_TRUE(text.starts_with(begin)) << text;
      return text.substr(begin.size());
    }
    return "";
  }

 private:
  test::TemporaryFolder folder_;
};

TEST_F(Choices, OfAnySizeAreRefusedWithoutADocument) {
  const std::string rule = " must be a JSON object of strings: ";
  EXPECT_EQ(message(std::string(8'000'000, '[')), rule + "the text is no object");
  EXPECT_EQ(message("{\"a\":" + std::string(1'000'000, '[')), rule + "the value of \"a\" is no string");
  EXPECT_EQ(message("{\"a\x1b"
                    "\":\"im2col\"}"),
            rule + "invalid at byte 4");
  EXPECT_EQ(message("{\"a\\u001b\":1}"), rule + "the value of \"a\\x1b\" is no string");
  EXPECT_EQ(message("{\"" + std::string(513, 'a') + "\":\"im2col\"}"), rule + "a name has 513 bytes, more than 512");
  EXPECT_EQ(message("{\"a\":\"\\u001b\"}"), ": add_conv_choices: unknown algorithm \"\\x1b\"");
  std::string many = "{";
  for (std::size_t i = 0; i <= kMaxConvChoices; ++i) {
    many.append(i == 0 ? "" : ",").append("\"a").append(std::to_string(i)).append("\":\"im2col\"");
  }
  EXPECT_EQ(message(many + "}"), rule + "there are more than 16384");
  EXPECT_TRUE(conv_choices().empty());
}

TEST_F(Choices, AProcessKeepsABoundedNumber) {
  for (const char* prefix : {"a", "b"}) {
    ConvChoices choices;
    for (std::size_t i = 0; i < kMaxConvChoices; ++i) choices.emplace(prefix + std::to_string(i), "im2col");
    add_conv_choices(choices);
  }
  const ConvChoices kept = conv_choices();
  EXPECT_EQ(kept.size(), kMaxConvChoices);
  EXPECT_EQ(kept.count("b0"), 0U);
  // A convolution that is new is not timed.
  set_conv_timing(true);
  conv2d(rand({1, 16, 8, 8}), rand({4, 16, 3, 3}));
  set_conv_timing(false);
  EXPECT_EQ(conv_choices().size(), kMaxConvChoices);
}

}  // namespace
}  // namespace weft
