using System.ComponentModel.DataAnnotations;
using FlashSale.Platform;

namespace FlashSale.Admission;

/// <summary>
/// The rate limits that hold until operators set others. Source: configuration section <c>Limits</c>.
/// </summary>
public sealed class LimitOptions
{
    /// <summary>
    /// Path of a file in the form of PUT /api/v1/ops/limits. If it is empty, <see cref="LimitDocument.DefaultJson"/>
    /// holds.
    /// </summary>
    [MaxLength(4096)]
    public string File { get; set; } = "";

    /// <summary>Reads the document's JSON.</summary>
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

    /// <summary>Reads and checks the document.</summary>
    /// <exception cref="InvalidSettingException">
    /// The file cannot be read, or has a fault. The message names the first one with its line.
    /// </exception>
    public LimitDocument Read()
    {
        var errors = new List<ProblemError>();
        var document = LimitDocument.ParseStrictly(System.Text.Encoding.UTF8.GetBytes(ReadText()), errors);
        return errors.Count == 0 ? document : throw new InvalidSettingException($"Limits:File = '{File}': line {errors[0].Line}: {errors[0].Message}.");
    }
}
