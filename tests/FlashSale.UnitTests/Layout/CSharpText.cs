using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;

namespace FlashSale.UnitTests.Layout;

/// <summary>Removes comments from C# source, and on request the text of literals.</summary>
internal static class CSharpText
{
    public static string WithoutComments(string source) => string.Concat(Tokens(source).Select(token => token.Text + Space(token)));

    public static string CodeOnly(string source) => string.Concat(Tokens(source).Select(token => (IsText(token) ? "\"\"" : token.Text) + Space(token)));

    private static IEnumerable<SyntaxToken> Tokens(string source) => CSharpSyntaxTree.ParseText(source).GetRoot().DescendantTokens();

    // The space also stands for line breaks and comments after the token.
    private static string Space(SyntaxToken token) => token.HasTrailingTrivia ? " " : "";

    private static bool IsText(SyntaxToken token) => token.IsKind(SyntaxKind.InterpolatedStringTextToken) || token.Parent is { RawKind: (int)SyntaxKind.StringLiteralExpression or (int)SyntaxKind.CharacterLiteralExpression };
}
