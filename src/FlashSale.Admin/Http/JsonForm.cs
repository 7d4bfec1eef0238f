using System.Text.Json;
using FlashSale.Contracts;
using FlashSale.Platform;
using FlashSale.Sales;
using Microsoft.AspNetCore.Http.Features;

namespace FlashSale.Admin.Http;

/// <summary>The errors of a request, the first hundred of them.</summary>
public sealed class FormErrors
{
    private const int Shown = 100;

    private readonly List<ProblemError> _errors = [];

    /// <summary>The errors, a hundred at most.</summary>
    public IReadOnlyList<ProblemError> All => _errors;

    /// <summary>Whether there is any error.</summary>
    public bool Any => _errors.Count > 0;

    /// <summary>Adds an error, unless there are a hundred.</summary>
    public void Add(string field, string message)
    {
        if (_errors.Count < Shown) _errors.Add(new(field, message));
    }
}

/// <summary>
/// Reads a JSON object member by member and collects all its errors, each under the path of the member
/// (<c>items[3].price.amount</c>). Members that were not read when <see cref="End"/> is called are unknown, and
/// refused. A value that could not be read becomes a default, which nobody uses because there is an error.
/// </summary>
public sealed class JsonForm
{
    private static readonly JsonDocumentOptions Strict = new() { MaxDepth = 16, AllowDuplicateProperties = false };

    private readonly JsonElement _json;
    private readonly string _path;
    private readonly FormErrors _errors;
    private readonly HashSet<string> _read = new(StringComparer.Ordinal);

    private JsonForm(JsonElement json, string path, FormErrors errors)
    {
        _json = json;
        _path = path;
        _errors = errors;
        if (json.ValueKind is not JsonValueKind.Object) errors.Add(path.Length == 0 ? "body" : path, "must be an object");
    }

    /// <summary>Reads the JSON object in the body of a request.</summary>
    /// <param name="request">The request.</param>
    /// <param name="read">Makes the value from the form.</param>
    /// <returns>The value, or the answer that refuses the body.</returns>
    public static async Task<(T? Value, IResult? Refused)> ReadAsync<T>(HttpRequest request, Func<JsonForm, FormErrors, T> read) where T : class
    {
        if (!request.HasJsonContentType())
        {
            // A missing body has no media type, so its media type cannot be wrong.
            var isMissing = request.ContentType is null
                && request.HttpContext.Features.Get<IHttpRequestBodyDetectionFeature>() is { CanHaveBody: false };
            return (null, isMissing ? AdminProblems.Invalid([new("body", "is required: a JSON object")]) : AdminProblems.UnsupportedMediaType("application/json"));
        }
        var errors = new FormErrors();
        try
        {
            using var document = await JsonDocument.ParseAsync(request.Body, Strict, request.HttpContext.RequestAborted);
            var form = new JsonForm(document.RootElement, "", errors);
            var value = read(form, errors);
            form.End();
            return errors.Any ? (null, AdminProblems.Invalid(errors.All)) : (value, null);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // InvalidOperationException: a text is not Unicode, which is found only when it is read.
            return (null, AdminProblems.Invalid([new("body", "is not valid JSON, or has a member twice, or is nested too deeply")]));
        }
    }

    /// <summary>A required text that keeps a rule.</summary>
    public string Text(string name, Predicate<string> isValid, string rule)
    {
        if (!TryTake(name, required: true, out var json)) return "";
        var text = json.ValueKind is JsonValueKind.String ? json.GetString()! : null;
        // The one character that Postgres cannot hold is refused here, so that no rule needs to name it.
        if (text is not null && text.Contains('\0')) Error(name, "must not contain the character U+0000");
        else if (text is not null && isValid(text)) return text;
        else Error(name, $"must be {rule}");
        return "";
    }

    /// <summary>A required integer within bounds.</summary>
    public long Number(string name, long min, long max) => Number(name, min, max, required: true) ?? 0;

    /// <summary>An integer within bounds. Null where it is null, missing or wrong.</summary>
    public long? OptionalNumber(string name, long min, long max) => Number(name, min, max, required: false);

    /// <summary>True or false. Null where it is null, missing or wrong.</summary>
    public bool? OptionalFlag(string name)
    {
        if (!TryTake(name, required: false, out var json)) return null;
        if (json.ValueKind is JsonValueKind.True or JsonValueKind.False) return json.GetBoolean();
        Error(name, "must be true or false");
        return null;
    }

    /// <summary>A required time with its offset, as Unix milliseconds. Null where it is wrong.</summary>
    public long? Time(string name) => Time(name, required: true);

    /// <summary>A time with its offset, as Unix milliseconds. Null where it is null, missing or wrong.</summary>
    public long? OptionalTime(string name) => Time(name, required: false);

    /// <summary>Money in minor units with its currency. Null where it is null, missing or not an object.</summary>
    public (long Amount, string Currency)? Money(string name, bool required)
    {
        if (!TryTake(name, required, out var json)) return null;
        var form = new JsonForm(json, PathOf(name), _errors);
        if (json.ValueKind is not JsonValueKind.Object) return null;
        var money = (form.Number("amount", 0, SaleBounds.MaxPrice), form.Text("currency", text => SaleBounds.IsCurrency(text), "three capital letters (ISO 4217)"));
        form.End();
        return money;
    }

    /// <summary>Reads the objects of a required array.</summary>
    public List<T> Objects<T>(string name, Func<JsonForm, T> read)
    {
        var values = new List<T>();
        if (!TryTake(name, required: true, out var json)) return values;
        if (json.ValueKind is not JsonValueKind.Array)
        {
            Error(name, "must be an array");
            return values;
        }
        foreach (var element in json.EnumerateArray())
        {
            var form = new JsonForm(element, $"{PathOf(name)}[{values.Count}]", _errors);
            values.Add(read(form));
            form.End();
        }
        return values;
    }

    /// <summary>Adds an error about a member.</summary>
    public void Error(string name, string message) => _errors.Add(PathOf(name), message);

    private long? Time(string name, bool required)
    {
        if (!TryTake(name, required, out var json)) return null;
        if (json.ValueKind is JsonValueKind.String && Timestamps.TryRead(json.GetString()!, out var time)) return time;
        Error(name, $"must be {Timestamps.Rule}");
        return null;
    }

    private long? Number(string name, long min, long max, bool required)
    {
        if (!TryTake(name, required, out var json)) return null;
        if (json.ValueKind is JsonValueKind.Number && json.TryGetInt64(out var number) && number >= min && number <= max) return number;
        Error(name, $"must be an integer from {min} to {max}");
        return null;
    }

    private bool TryTake(string name, bool required, out JsonElement json)
    {
        json = default;
        _read.Add(name);
        if (_json.ValueKind is not JsonValueKind.Object) return false;
        if (_json.TryGetProperty(name, out json) && json.ValueKind is not JsonValueKind.Null) return true;
        if (required) Error(name, "is required");
        return false;
    }

    private void End()
    {
        if (_json.ValueKind is not JsonValueKind.Object) return;
        foreach (var member in _json.EnumerateObject())
        {
            if (_read.Contains(member.Name)) continue;
            var name = member.Name.Length <= 64 ? member.Name : member.Name[..64];
            Error(name, $"is not known; known are {string.Join(", ", _read)}");
        }
    }

    private string PathOf(string name) => _path.Length == 0 ? name : $"{_path}.{name}";
}
