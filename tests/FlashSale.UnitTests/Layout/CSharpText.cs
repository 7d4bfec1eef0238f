using System.Text;

namespace FlashSale.UnitTests.Layout;

/// <summary>Takes comments, and where asked the text of literals, out of C# source; line breaks stay.</summary>
internal static class CSharpText
{
    public static string WithoutComments(string source) => Strip(source, keepLiterals: true);

    public static string CodeOnly(string source) => Strip(source, keepLiterals: false);

    private static string Strip(string source, bool keepLiterals)
    {
        var kept = new StringBuilder(source.Length);
        for (var i = 0; i < source.Length;)
        {
            var rest = source.AsSpan(i);
            if (rest.StartsWith("//"))
            {
                i += Until(rest, "\n", 0);
            }
            else if (rest.StartsWith("/*"))
            {
                var length = Math.Min(Until(rest, "*/", 2) + 2, rest.Length);
                kept.Append(' ');
                i += length;
            }
            else if (rest[0] is '"' or '\'' || rest.StartsWith("@\"") || rest.StartsWith("$@\"") || rest.StartsWith("@$\""))
            {
                var length = LiteralLength(rest);
                if (keepLiterals) kept.Append(rest[..length]);
                else kept.Append("\"\"");
                i += length;
            }
            else
            {
                kept.Append(source[i++]);
            }
        }

        return kept.ToString();
    }

    private static int LiteralLength(ReadOnlySpan<char> text)
    {
        var quotes = 0;
        while (quotes < text.Length && text[quotes] == '"') quotes++;
        if (quotes >= 3)
        {
            // A raw literal ends with as many quotes as it began with.
            return Math.Min(Until(text, new string('"', quotes), quotes) + quotes, text.Length);
        }

        var verbatim = text[0] is '@' or '$';
        var start = text.IndexOfAny('"', '\'');
        var end = text[start];
        for (var i = start + 1; i < text.Length; i++)
        {
            if (!verbatim && text[i] == '\\') i++;
            else if (verbatim && text[i] == '"' && i + 1 < text.Length && text[i + 1] == '"') i++;
            else if (text[i] == end) return i + 1;
        }

        return text.Length;
    }

    private static int Until(ReadOnlySpan<char> text, string mark, int from)
    {
        var found = text[from..].IndexOf(mark);
        return found < 0 ? text.Length : from + found;
    }
}
