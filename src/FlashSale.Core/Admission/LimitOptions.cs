using System.ComponentModel.DataAnnotations;
using FlashSale.Platform;

namespace FlashSale.Admission;

/// <summary>The rate limits that hold until operators set others. Section <c>Limits</c>.</summary>
public sealed class LimitOptions
{
    /// <summary>A file of the form of PUT /api/v1/ops/limits; without one, <see cref="LimitDocument.DefaultJson"/>.</summary>
    [MaxLength(4096)]
    public string File { get; set; } = "";

    /// <summary>The document as text.</summary>
    /// <exception cref="InvalidSettingException">The file cannot be read.</exception>
    public string ReadText()
    {
        if (File.Length == 0) return LimitDocument.DefaultJson;
        try
        {
            return System.IO.File.ReadAllText(File);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new InvalidSettingException($"Limits:File = '{File}': allowed is a file that can be read. {e.Message}");
        }
    }

    /// <summary>The document.</summary>
    /// <exception cref="InvalidSettingException">It cannot be read, or says something wrong.</exception>
    public LimitDocument Read()
    {
        var errors = new List<ProblemError>();
        var document = LimitDocument.ParseStrictly(System.Text.Encoding.UTF8.GetBytes(ReadText()), errors);
        return errors.Count == 0 ? document : throw new InvalidSettingException($"Limits:File = '{File}': line {errors[0].Line}: {errors[0].Message}.");
    }
}
