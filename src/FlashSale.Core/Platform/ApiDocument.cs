using System.Text.Json.Serialization;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.OpenApi;
using Microsoft.OpenApi;

namespace FlashSale.Platform;

/// <summary>
/// The parts that the OpenAPI documents of all hosts share: the bearer token, the problem that every error answer is, a
/// name for every operation, and schemas that describe exactly the members that are sent.
/// </summary>
public static class ApiDocument
{
    /// <summary>Path of the document.</summary>
    public const string Path = "/openapi/v1.json";

    /// <summary>Path of the page on which people read the document.</summary>
    public const string DocsPath = "/docs";

    private const string Bearer = "bearer";
    private const string ProblemName = "Problem";

    /// <summary>Adds the shared parts to a document.</summary>
    /// <param name="options">Options of the document.</param>
    /// <param name="title">Title of the document.</param>
    /// <param name="token">Describes the bearer token that the host takes.</param>
    /// <param name="isOpen">Tells whether an operation takes no token.</param>
    public static void Describe(OpenApiOptions options, string title, OpenApiSecurityScheme token, Func<OpenApiOperationTransformerContext, bool> isOpen)
    {
        options.AddDocumentTransformer((document, _, _) =>
        {
            document.Info = new OpenApiInfo { Title = title, Version = "1" };
            // The list of servers would hold the address from which this document happened to be read.
            document.Servers?.Clear();
            document.Components ??= new OpenApiComponents();
            document.Components.SecuritySchemes ??= new Dictionary<string, IOpenApiSecurityScheme>(StringComparer.Ordinal);
            document.Components.SecuritySchemes[Bearer] = token;
            document.Components.Schemas ??= new Dictionary<string, IOpenApiSchema>(StringComparer.Ordinal);
            document.Components.Schemas[ProblemName] = ProblemSchema();
            return Task.CompletedTask;
        });
        options.AddSchemaTransformer((schema, context, _) =>
        {
            // Client generators demand a member in requests when its schema has a default.
            schema.Default = null;
            foreach (var property in context.JsonTypeInfo.Properties)
            {
                if (property.AttributeProvider?.IsDefined(typeof(JsonIgnoreAttribute), inherit: true) is true) schema.Required?.Remove(property.Name);
            }
            return Task.CompletedTask;
        });
        options.AddOperationTransformer((operation, context, _) =>
        {
            // Operations are grouped by their subject, the path segment after the version, not by the class that
            // answers them.
            var subject = Capitalized(context.Description.RelativePath!.Split('/')[2]);
            (context.Document!.Tags ??= new HashSet<OpenApiTag>()).Add(new OpenApiTag { Name = subject });
            operation.Tags = new HashSet<OpenApiTagReference> { new(subject, context.Document) };
            operation.OperationId = OperationId(context.Description.HttpMethod!, context.Description.RelativePath!);
            if (!isOpen(context)) operation.Security = [new OpenApiSecurityRequirement { [new OpenApiSecuritySchemeReference(Bearer, context.Document)] = [] }];
            return Task.CompletedTask;
        });
    }

    /// <summary>Describes an answer that is a problem.</summary>
    /// <param name="context">Context of the operation.</param>
    /// <param name="description">The case in which the host gives this answer.</param>
    /// <param name="asksToRetry">Whether the answer has a Retry-After header.</param>
    public static OpenApiResponse ProblemResponse(OpenApiOperationTransformerContext context, string description, bool asksToRetry = false)
    {
        var response = new OpenApiResponse
        {
            Description = description,
            Content = new Dictionary<string, OpenApiMediaType>(StringComparer.Ordinal)
            {
                ["application/problem+json"] = new() { Schema = new OpenApiSchemaReference(ProblemName, context.Document) },
            },
        };
        if (asksToRetry) AddHeader(response, "Retry-After", "Seconds until it is worth asking again.", JsonSchemaType.Integer);
        return response;
    }

    /// <summary>Adds a header to an answer.</summary>
    public static void AddHeader(OpenApiResponse response, string name, string description, JsonSchemaType type = JsonSchemaType.String)
    {
        response.Headers ??= new Dictionary<string, IOpenApiHeader>(StringComparer.Ordinal);
        response.Headers[name] = new OpenApiHeader { Description = description, Schema = Of(type) };
    }

    /// <summary>Adds a parameter that the handler reads itself.</summary>
    public static void AddParameter(OpenApiOperation operation, ParameterLocation place, string name, string description, OpenApiSchema schema, bool isRequired = false)
    {
        operation.Parameters ??= [];
        operation.Parameters.Add(new OpenApiParameter { Name = name, In = place, Description = description, Schema = schema, Required = isRequired });
    }

    /// <summary>Serves the page at /docs on which people read the document.</summary>
    /// <param name="app">The host.</param>
    /// <param name="page">Adds the middleware that serves the page.</param>
    public static void UseDocs(this WebApplication app, Action<IApplicationBuilder> page) =>
        app.UseWhen(context => context.Request.Path.StartsWithSegments(DocsPath, StringComparison.Ordinal), docs =>
        {
            docs.Use((context, next) =>
            {
                // The page loads everything from this host. Its pictures are data in its style sheets.
                context.Response.Headers.ContentSecurityPolicy = "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'";
                context.Response.Headers.XContentTypeOptions = "nosniff";
                return next(context);
            });
            page(docs);
        });

    /// <summary>Makes a schema that has only a type.</summary>
    public static OpenApiSchema Of(JsonSchemaType type) => new() { Type = type };

    // Makes an id that every generator can turn into a method name: postSalesPreload, getSalesOne, deleteOpsBlocklist.
    private static string OperationId(string method, string path) => method.ToLowerInvariant() + string.Concat(
        path.Replace("api/v1/", "", StringComparison.Ordinal).Split('/', ':', '-', '.').Where(part => part is not ['{', ..]).Select(Capitalized))
        + (path.EndsWith('}') && method is "GET" ? "One" : "");

    private static string Capitalized(string word) => word.Length == 0 ? "" : char.ToUpperInvariant(word[0]) + word[1..];

    private static OpenApiSchema ProblemSchema() => new()
    {
        Type = JsonSchemaType.Object,
        Description = "RFC 9457, with a stable code. Errors say what is wrong with a request, by field or by line.",
        Required = new HashSet<string>(StringComparer.Ordinal) { "type", "title", "status", "code", "traceId" },
        Properties = new Dictionary<string, IOpenApiSchema>(StringComparer.Ordinal)
        {
            ["type"] = Of(JsonSchemaType.String),
            ["title"] = Of(JsonSchemaType.String),
            ["status"] = Of(JsonSchemaType.Integer),
            ["code"] = new OpenApiSchema { Type = JsonSchemaType.String, Description = "What a client switches on." },
            ["detail"] = Of(JsonSchemaType.String),
            ["errors"] = new OpenApiSchema
            {
                Type = JsonSchemaType.Array,
                Items = new OpenApiSchema
                {
                    Type = JsonSchemaType.Object,
                    Required = new HashSet<string>(StringComparer.Ordinal) { "message" },
                    Properties = new Dictionary<string, IOpenApiSchema>(StringComparer.Ordinal)
                    {
                        ["field"] = Of(JsonSchemaType.String), ["line"] = Of(JsonSchemaType.Integer), ["message"] = Of(JsonSchemaType.String),
                    },
                },
            },
            ["challenge"] = new OpenApiSchema { Type = JsonSchemaType.Object, Description = "Of challenge_required: an ALTCHA challenge of version 1, for widgets 1 to 3." },
            ["challengeV2"] = new OpenApiSchema { Type = JsonSchemaType.Object, Description = "Of challenge_required: the same as version 2." },
            ["traceId"] = Of(JsonSchemaType.String),
        },
    };
}
