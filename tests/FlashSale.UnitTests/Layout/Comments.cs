using System.Text.RegularExpressions;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;

namespace FlashSale.UnitTests.Layout;

/// <summary>Takes the comments out of source, without their markers and tags.</summary>
internal static partial class Comments
{
    /// <summary>The comments of a C#, Lua, SQL or shell file, line by line.</summary>
    public static IEnumerable<string> Of(string path, string source) => (Path.GetExtension(path) switch
    {
        ".cs" => OfCSharp(source),
        ".lua" or ".sql" => source.Split('\n').Select(line => DashComment().Match(line).Groups[1].Value),
        ".sh" => source.Split('\n').Select(line => HashComment().Match(line).Groups[1].Value),
        var other => throw new ArgumentException($"{path}: no comments are known of {other}.", nameof(path)),
    }).Select(line => Tag().Replace(line, " ").Trim()).Where(line => line.Length > 0);

    public static int Words(string comment) => Word().Count(comment);

    private static IEnumerable<string> OfCSharp(string source) =>
        CSharpSyntaxTree.ParseText(source, CSharpParseOptions.Default.WithDocumentationMode(DocumentationMode.None)).GetRoot().DescendantTrivia()
            .Where(trivia => trivia.Kind() is SyntaxKind.SingleLineCommentTrivia or SyntaxKind.MultiLineCommentTrivia)
            .SelectMany(trivia => trivia.ToFullString().Split('\n')).Select(line => line.Trim().TrimStart('/', '*').TrimEnd('/', '*'));

    [GeneratedRegex(@"--\s?(.*)$")]
    private static partial Regex DashComment();

    [GeneratedRegex(@"^\s*#(?!!)\s?(.*)$")]
    private static partial Regex HashComment();

    [GeneratedRegex("<[^<>]+>")]
    private static partial Regex Tag();

    [GeneratedRegex("[A-Za-z']+")]
    private static partial Regex Word();
}
