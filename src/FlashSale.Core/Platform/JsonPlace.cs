using System.Text;
using System.Text.Json;

namespace FlashSale.Platform;

/// <summary>
/// A JSON value that knows its line, for documents that people write. Errors name the line and the place of a value.
/// Callers read the values one by one. <see cref="End"/> makes every member that no caller has asked for an error.
/// </summary>
public sealed class JsonPlace
{
    private const int MaxDepth = 16;
    private const int MaxDigits = 32;

    private readonly List<ProblemError> _errors;
    private readonly string _path;
    private readonly int _line;
    private readonly JsonTokenType _kind;
    private readonly string _text;
    private readonly Dictionary<string, JsonPlace> _members = new(StringComparer.Ordinal);
    private readonly HashSet<string> _read = new(StringComparer.Ordinal);
    private readonly List<JsonPlace> _items = [];

    private JsonPlace(ref Utf8JsonReader reader, ReadOnlySpan<byte> json, string path, List<ProblemError> errors)
    {
        _errors = errors;
        _path = path;
        _line = LineOf(json, reader.TokenStartIndex);
        _kind = reader.TokenType;
        _text = _kind switch
        {
            JsonTokenType.String => reader.GetString()!,
            JsonTokenType.Number => Encoding.UTF8.GetString(reader.ValueSpan),
            _ => "",
        };
        // Postgres keeps the documents. It holds neither U+0000 nor numbers of any length, so every member is checked.
        if (_kind is JsonTokenType.String && _text.Contains('\0')) Error("must not contain the character U+0000");
        if (_kind is JsonTokenType.Number && _text.Length > MaxDigits) Error($"must be written in at most {MaxDigits} characters");
        if (_kind is JsonTokenType.StartArray)
        {
            while (reader.Read() && reader.TokenType is not JsonTokenType.EndArray) _items.Add(new JsonPlace(ref reader, json, $"{path}[{_items.Count}]", errors));
        }
        if (_kind is not JsonTokenType.StartObject) return;
        while (reader.Read() && reader.TokenType is JsonTokenType.PropertyName)
        {
            var name = reader.GetString()!;
            var line = LineOf(json, reader.TokenStartIndex);
            reader.Read();
            var place = path.Length == 0 ? name : $"{path}.{name}";
            if (!_members.TryAdd(name, new JsonPlace(ref reader, json, place, errors))) errors.Add(ProblemError.InLine(line, $"{place} is there twice"));
        }
    }

    /// <summary>
    /// Reads a document and adds its errors to <paramref name="errors"/>. Returns null when it is not a JSON object at
    /// all.
    /// </summary>
    public static JsonPlace? Parse(ReadOnlySpan<byte> json, List<ProblemError> errors)
    {
        json = Utf8Text.WithoutMark(json);
        try
        {
            var reader = new Utf8JsonReader(json, new JsonReaderOptions { MaxDepth = MaxDepth });
            reader.Read();
            var root = new JsonPlace(ref reader, json, "", errors);
            reader.Read();
            if (root._kind is JsonTokenType.StartObject) return root;
            errors.Add(ProblemError.InLine(root._line, "must be a JSON object"));
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // InvalidOperationException means text that is not Unicode.
            errors.Add(ProblemError.InLine((int)((e as JsonException)?.LineNumber ?? 0) + 1, "is not valid JSON here, or nested too deeply"));
        }
        return null;
    }

    /// <summary>Reads a text that keeps a rule. After an error the result is "".</summary>
    public string Text(string name, Predicate<string> isValid, string rule, string? missing = null)
    {
        if (Take(name) is not { } value) return missing ?? Missing(name, "");
        if (value._kind is JsonTokenType.String && isValid(value._text)) return value._text;
        value.Error($"must be {rule}");
        return "";
    }

    /// <summary>Reads one of several words. After an error the result is the first of them.</summary>
    public T Word<T>(string name, T? missing = null) where T : struct, Enum
    {
        var names = Enum.GetNames<T>();
        if (Take(name) is not { } value) return missing ?? Missing(name, default(T));
        var index = value._kind is JsonTokenType.String ? Array.FindIndex(names, word => word.Equals(value._text, StringComparison.OrdinalIgnoreCase)) : -1;
        if (index >= 0) return Enum.GetValues<T>()[index];
        value.Error($"must be one of {string.Join(", ", names.Select(word => word.ToLowerInvariant()))}");
        return default;
    }

    /// <summary>Reads a number within bounds. After an error the result is <paramref name="min"/>.</summary>
    public double Number(string name, double min, double max, double? missing = null) => OptionalNumber(name, min, max) ?? missing ?? Missing(name, min);

    /// <summary>Reads an integer within bounds. After an error the result is <paramref name="min"/>.</summary>
    public int Whole(string name, int min, int max, int? missing = null) => OptionalWhole(name, min, max) ?? missing ?? Missing(name, min);

    /// <summary>
    /// Reads an integer within bounds. The result is null if the member is null or missing, and <paramref name="min"/>
    /// after an error.
    /// </summary>
    public int? OptionalWhole(string name, int min, int max)
    {
        if (Take(name) is not { } value) return null;
        if (value._kind is JsonTokenType.Number && int.TryParse(value._text, out var number) && number >= min && number <= max) return number;
        value.Error($"must be an integer from {min} to {max}");
        return min;
    }

    /// <summary>Reads true or false. The result is null if the member is null or missing.</summary>
    public bool? Flag(string name)
    {
        if (Take(name) is not { } value) return null;
        if (value._kind is not (JsonTokenType.True or JsonTokenType.False)) value.Error("must be true or false");
        return value._kind is JsonTokenType.True;
    }

    /// <summary>Reads an object. The result is null if the member is null, missing or not an object.</summary>
    public JsonPlace? Nested(string name, bool required = false)
    {
        if (Take(name) is not { } value) return required ? Missing<JsonPlace?>(name, null) : null;
        if (value._kind is JsonTokenType.StartObject) return value;
        value.Error("must be an object");
        return null;
    }

    /// <summary>The names of an object's members. <see cref="End"/> takes all of them for known.</summary>
    public IEnumerable<string> Names()
    {
        foreach (var name in _members.Keys)
        {
            _read.Add(name);
            yield return name;
        }
    }

    /// <summary>Reads the objects of an array.</summary>
    public List<T> Objects<T>(string name, int max, Func<JsonPlace, T> read)
    {
        var values = new List<T>();
        foreach (var item in Items(name, required: true, max))
        {
            if (item._kind is JsonTokenType.StartObject) values.Add(read(item));
            else item.Error("must be an object");
        }
        return values;
    }

    /// <summary>Reads the texts of an array that may be missing.</summary>
    public List<string> Texts(string name, int max, Predicate<string> isValid, string rule)
    {
        var values = new List<string>();
        foreach (var item in Items(name, required: false, max))
        {
            if (item._kind is JsonTokenType.String && isValid(item._text)) values.Add(item._text);
            else item.Error($"must be {rule}");
        }
        return values;
    }

    /// <summary>Adds an error about this value.</summary>
    public void Error(string message) => _errors.Add(ProblemError.InLine(_line, $"{_path} {message}"));

    /// <summary>Adds an error about a member, on its line if it is there.</summary>
    public void Error(string name, string message) => (_members.GetValueOrDefault(name) ?? this).Error(_members.ContainsKey(name) ? message : $"{name} {message}");

    /// <summary>Adds an error for each member of this object that no caller has asked for.</summary>
    public void End()
    {
        foreach (var (name, value) in _members)
        {
            if (!_read.Contains(name)) value.Error($"is not known; known are {string.Join(", ", _read)}");
        }
    }

    private List<JsonPlace> Items(string name, bool required, int max)
    {
        if (Take(name) is not { } value) return required ? Missing<List<JsonPlace>>(name, []) : [];
        if (value._kind is not JsonTokenType.StartArray) value.Error("must be an array");
        if (value._items.Count > max) value.Error($"must have at most {max} elements");
        return value._items;
    }

    private double? OptionalNumber(string name, double min, double max)
    {
        if (Take(name) is not { } value) return null;
        if (value._kind is JsonTokenType.Number && double.TryParse(value._text, out var number) && number >= min && number <= max) return number;
        value.Error($"must be a number from {min} to {max}");
        return min;
    }

    private JsonPlace? Take(string name)
    {
        _read.Add(name);
        return _members.GetValueOrDefault(name) is { _kind: not JsonTokenType.Null } value ? value : null;
    }

    private T Missing<T>(string name, T instead)
    {
        _errors.Add(ProblemError.InLine(_line, _path.Length == 0 ? $"{name} is required" : $"{_path}.{name} is required"));
        return instead;
    }

    private static int LineOf(ReadOnlySpan<byte> json, long position) => json[..(int)position].Count((byte)'\n') + 1;
}
