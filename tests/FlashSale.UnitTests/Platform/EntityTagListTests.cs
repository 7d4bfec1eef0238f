using FlashSale.Platform;

namespace FlashSale.UnitTests.Platform;

/// <summary>
/// The reader of If-Match and If-None-Match takes all that RFC 9110 allows, and nothing more, even where the
/// framework's parser does.
/// </summary>
public sealed class EntityTagListTests
{
    [Theory]
    [InlineData("*", true)]
    [InlineData(" * ", true)]
    [InlineData("\"a\"", true)]
    [InlineData("W/\"a\"", true)]
    [InlineData("\"b\", \"a\"", true)]
    [InlineData("\"b\"", false)]
    public void A_list_names_a_tag_weakly(string header, bool names)
    {
        Assert.True(EntityTagList.TryRead(header, out var list));
        Assert.Equal(names, list.Names("\"a\""));
    }

    [Theory]
    [InlineData("")]
    [InlineData("W/*")]
    [InlineData("\"a\", *")]
    [InlineData("a")]
    public void What_is_no_list_of_tags_is_not_any(string header) => Assert.False(EntityTagList.TryRead(header, out _));

    [Fact]
    public void An_absent_header_names_nothing() => Assert.False(EntityTagList.TryRead(default, out _));
}
