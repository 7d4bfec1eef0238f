using System.Text.RegularExpressions;
using FlashSale.UnitTests.Layout;

namespace FlashSale.UnitTests;

/// <summary>Comments name the thing they speak of: "the order that was refused", not "what was refused".</summary>
public sealed partial class ProseTests(ITestOutputHelper output)
{
    private const double MostPerThousandWords = 1;

    [Theory]
    [InlineData("src")]
    [InlineData("tests")]
    [InlineData("loadtests")]
    [InlineData("scripts")]
    public void Comments_name_the_thing_they_speak_of(string folder)
    {
        var comments = ((string[])["*.cs", "*.lua", "*.sh"]).SelectMany(pattern => Repository.Files(folder, pattern))
            .SelectMany(path => Comments.Of(path, Repository.Read(path)).Select(text => (Path: path, Text: text))).ToList();
        var words = comments.Sum(comment => Comments.Words(comment.Text));
        var nameless = comments.Where(comment => Nameless().IsMatch(comment.Text)).ToList();
        var rate = 1_000.0 * nameless.Sum(comment => Nameless().Count(comment.Text)) / words;
        output.WriteLine($"{rate:0.0} in 1,000 of {words} words");
        Assert.True(words > 1_000, $"Only {words} words of comments were found in {folder}.");
        Assert.True(rate <= MostPerThousandWords, $"{rate:0.0} in 1,000 words, {MostPerThousandWords} are allowed. Name the thing:\n{string.Join('\n', nameless.Select(comment => $"{comment.Path}: {comment.Text}"))}");
    }

    [Theory]
    [InlineData("// What was refused comes back.")]
    [InlineData("/// <summary>Whoever holds the lease publishes.</summary>")]
    [InlineData("var a = 1; // Who asks again gets the same.")]
    [InlineData("/* An entry that is none. */")]
    public void A_comment_without_a_name_is_caught(string source) => Assert.Single(Comments.Of("Bad.cs", source + "\nclass A;"), text => Nameless().IsMatch(text));

    [Theory]
    [InlineData("// A shopper who asks again gets the same ticket.")]
    [InlineData("var s = \"// what\";")]
    public void Other_text_is_not(string source) => Assert.DoesNotContain(Comments.Of("Good.cs", source + "\nclass A;"), text => Nameless().IsMatch(text));

    [GeneratedRegex(@"\b[Ww]hat(ever)?\b|\b[Ww]ho(m|se)?ever\b|(^|[.:;(] )Who\b|\b(is|are) none\b")]
    private static partial Regex Nameless();
}
