using FlashSale.Platform;
using Microsoft.Extensions.Primitives;

namespace FlashSale.UnitTests.Platform;

public sealed class IdempotencyKeyTests
{
    [Theory]
    [InlineData("a", "a")]
    [InlineData("\"a\"", "a")]
    [InlineData("8e03978e-40d5-43e8-bc93-6894a57f9324", "8e03978e-40d5-43e8-bc93-6894a57f9324")]
    [InlineData("\"8e03978e-40d5-43e8-bc93-6894a57f9324\"", "8e03978e-40d5-43e8-bc93-6894a57f9324")]
    [InlineData("\"a\\\"b\\\\c\"", "a\"b\\c")]
    [InlineData("a\"b", "a\"b")]
    public void Bare_and_quoted_spell_the_same_key(string header, string key)
    {
        Assert.True(IdempotencyKey.TryRead(header, out var read));
        Assert.Equal(key, read);
    }

    [Theory]
    [InlineData("a b")]
    [InlineData("a\tb")]
    [InlineData("\u0001")]
    [InlineData("é")]
    [InlineData("\"\"")]
    [InlineData("\"a")]
    [InlineData("\"a\"b\"")]
    [InlineData("\"a\\\"")]
    [InlineData("\"a\\b\"")]
    public void Anything_else_is_not_a_key(string header)
    {
        Assert.False(IdempotencyKey.TryRead(header, out var key));
        Assert.Null(key);
    }

    [Fact]
    public void It_is_bounded_by_what_it_says_not_by_how_it_is_spelled()
    {
        var longest = new string('k', IdempotencyKey.MaxLength);
        Assert.True(IdempotencyKey.TryRead(longest, out _));
        Assert.True(IdempotencyKey.TryRead($"\"{longest}\"", out _));
        Assert.False(IdempotencyKey.TryRead(longest + "k", out _));
    }

    [Fact]
    public void A_missing_header_is_told_from_a_wrong_one_and_two_are_none()
    {
        Assert.False(IdempotencyKey.TryRead(StringValues.Empty, out var missing));
        Assert.Equal("", missing);
        Assert.False(IdempotencyKey.TryRead(new StringValues(["a", "b"]), out var two));
        Assert.Null(two);
    }
}
